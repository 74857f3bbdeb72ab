#include "tests/unit/audit/audit_fixture.h"

#include <pthread.h>

#include "services/audit/committer.h"
#include "services/audit/submission.h"

/* A log in memory whose disk can be told to fail or to hang. */
static struct {
    struct log_writer writer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hang;
    bool hanging; /* an append waits */
    enum tg_code fail;
    size_t appends;
    size_t entries;
    char last[2048]; /* body of the last entry */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static enum tg_code disk_append(struct log_writer *log, const struct log_entry *entries, size_t count,
                                uint64_t *first, struct tg_error *err)
{
    (void)log;
    pthread_mutex_lock(&disk.lock);
    disk.appends++;
    disk.hanging = disk.hang;
    pthread_cond_broadcast(&disk.changed);
    while (disk.hang)
        pthread_cond_wait(&disk.changed, &disk.lock);
    disk.hanging = false;
    enum tg_code code = disk.fail;
    if (code == TG_OK) {
        *first = disk.entries + 1;
        disk.entries += count;
        snprintf(disk.last, sizeof disk.last, "%s", entries[count - 1].body);
    }
    pthread_mutex_unlock(&disk.lock);
    return code == TG_OK ? TG_OK : tg_fail(err, code, "the test's disk is told to fail");
}

static const struct log_writer_ops disk_ops = {.append = disk_append};

static void set_disk(bool hang, enum tg_code fail)
{
    pthread_mutex_lock(&disk.lock);
    disk.hang = hang;
    disk.fail = fail;
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static void wait_until_hanging(void)
{
    pthread_mutex_lock(&disk.lock);
    while (!disk.hanging)
        pthread_cond_wait(&disk.changed, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

static size_t entries_on_disk(void)
{
    pthread_mutex_lock(&disk.lock);
    size_t entries = disk.entries;
    pthread_mutex_unlock(&disk.lock);
    return entries;
}

/* An outcome somebody waits for. */
struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t told_now;
    unsigned told;
    enum tg_code status;
    uint64_t first;
    char text[128];
};
#define OUTCOME                                                                                              \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .told_now = PTHREAD_COND_INITIALIZER                              \
    }

static void note(void *arg, enum tg_code status, const char *text, uint64_t first)
{
    struct outcome *outcome = arg;
    pthread_mutex_lock(&outcome->lock);
    outcome->told++;
    outcome->status = status;
    outcome->first = first;
    snprintf(outcome->text, sizeof outcome->text, "%s", text);
    pthread_cond_signal(&outcome->told_now);
    pthread_mutex_unlock(&outcome->lock);
}

static enum tg_code wait_told(struct outcome *outcome)
{
    pthread_mutex_lock(&outcome->lock);
    while (outcome->told == 0)
        pthread_cond_wait(&outcome->told_now, &outcome->lock);
    enum tg_code status = outcome->status;
    pthread_mutex_unlock(&outcome->lock);
    return status;
}

static struct committer *committer;
static struct secret *key;

static int open_with(unsigned disk_timeout_ms)
{
    disk.writer.ops = &disk_ops;
    disk.entries = disk.appends = 0;
    set_disk(false, TG_OK);
    key = secret_new(RECORD_KEY_LEN);
    struct committer_options options = {.log = &disk.writer,
                                        .ticket_key = key,
                                        .queue_events = 8,
                                        .disk_timeout_ms = disk_timeout_ms,
                                        .retry_ms = 20};
    return committer_open(&committer, &options, NULL) == TG_OK && committer_start(committer, NULL) == TG_OK
               ? 0
               : -1;
}

static int open_patient(void **state)
{
    (void)state;
    return open_with(120000);
}

/* For the tests that wait for the watchdog. */
static int open_impatient(void **state)
{
    (void)state;
    return open_with(50);
}

static int close_committer(void **state)
{
    (void)state;
    set_disk(false, TG_OK);
    bool ended = committer_close(committer);
    secret_free(key);
    return ended ? 0 : -1;
}

/* Submits `count` entries under the request id that starts with byte n. */
static void submit(uint8_t n, size_t count, struct outcome *outcome)
{
    uint8_t id[REQUEST_ID_LEN] = {n};
    struct log_entry entries[16];
    for (size_t i = 0; i < count; i++) {
        entries[i].body = strdup("\"event\":\"test\"");
        entries[i].len = strlen(entries[i].body);
    }
    committer_submit(committer, id, entries, count, note, outcome);
}

static void test_failing_disk_refuses_and_recovers(void **state)
{
    (void)state;
    struct outcome refused = OUTCOME;
    struct outcome durable = OUTCOME;
    set_disk(false, TG_RESOURCE_EXHAUSTED);
    submit(1, 1, &refused);
    assert_int_equal(wait_told(&refused), TG_UNAVAILABLE);
    assert_string_equal(refused.text, "the test's disk is told to fail");
    assert_non_null(strstr(committer_trouble(committer), "free space"));
    set_disk(false, TG_OK);
    submit(1, 1, &durable); /* the caller tries again */
    assert_int_equal(wait_told(&durable), TG_OK);
    assert_int_equal(durable.first, 2); /* after audit.recovered */
    assert_null(committer_trouble(committer));
    assert_int_equal(refused.told, 1);
}

static void test_disk_recovers_without_callers(void **state)
{
    (void)state;
    struct outcome refused = OUTCOME;
    set_disk(false, TG_UNAVAILABLE);
    submit(1, 1, &refused);
    assert_int_equal(wait_told(&refused), TG_UNAVAILABLE);
    set_disk(false, TG_OK);
    while (committer_trouble(committer) != NULL)
        sched_yield();
    assert_int_equal(entries_on_disk(), 1);
    assert_non_null(strstr(disk.last, "audit.recovered"));
    assert_non_null(strstr(disk.last, "1 reports were not acknowledged"));
}

static void test_hung_disk_refuses_all(void **state)
{
    (void)state;
    struct outcome writing = OUTCOME;
    struct outcome queued = OUTCOME;
    struct outcome late = OUTCOME;
    set_disk(true, TG_OK);
    submit(1, 1, &writing);
    wait_until_hanging();
    submit(2, 1, &queued);
    assert_int_equal(wait_told(&writing), TG_UNAVAILABLE);
    assert_int_equal(wait_told(&queued), TG_UNAVAILABLE);
    submit(3, 1, &late);
    assert_int_equal(late.told, 1); /* at once */
    assert_int_equal(late.status, TG_UNAVAILABLE);
    assert_non_null(strstr(committer_trouble(committer), "does not answer"));
    set_disk(false, TG_OK);
    while (committer_trouble(committer) != NULL)
        sched_yield();
    assert_int_equal(entries_on_disk(), 2); /* the one that was being written, and audit.recovered */
    assert_int_equal(writing.told + queued.told, 2);
}

/* A repetition after the disk hung must not stand in the log twice, whatever became of the first call. */
static void test_repetition_after_hang(void **state)
{
    (void)state;
    struct outcome first = OUTCOME;
    struct outcome during = OUTCOME;
    struct outcome after = OUTCOME;
    set_disk(true, TG_OK);
    submit(1, 3, &first);
    assert_int_equal(wait_told(&first), TG_UNAVAILABLE);
    submit(1, 3, &during);
    assert_int_equal(wait_told(&during), TG_UNAVAILABLE);
    set_disk(false, TG_OK);
    while (committer_trouble(committer) != NULL)
        sched_yield();
    submit(1, 3, &after);
    assert_int_equal(wait_told(&after), TG_OK);
    assert_int_equal(after.first, 1);
    assert_int_equal(entries_on_disk(), 4);
}

static void test_full_queue_refuses(void **state)
{
    (void)state;
    struct outcome writing = OUTCOME;
    struct outcome queued = OUTCOME;
    struct outcome refused = OUTCOME;
    set_disk(true, TG_OK);
    submit(1, 1, &writing);
    wait_until_hanging();
    submit(2, 8, &queued);
    submit(3, 1, &refused);
    assert_int_equal(refused.told, 1);
    assert_int_equal(refused.status, TG_RESOURCE_EXHAUSTED);
    set_disk(false, TG_OK);
    wait_told(&queued);
}

static void test_repetition_gets_the_first_answer(void **state)
{
    (void)state;
    struct outcome first = OUTCOME;
    struct outcome other = OUTCOME;
    struct outcome repeated = OUTCOME;
    struct outcome misused = OUTCOME;
    submit(1, 2, &first);
    assert_int_equal(wait_told(&first), TG_OK);
    submit(2, 1, &other);
    assert_int_equal(wait_told(&other), TG_OK);
    submit(1, 2, &repeated);
    assert_int_equal(wait_told(&repeated), TG_OK);
    assert_int_equal(first.first, 1);
    assert_int_equal(other.first, 3);
    assert_int_equal(repeated.first, 1);
    assert_int_equal(entries_on_disk(), 3);
    submit(1, 1, &misused);
    assert_int_equal(wait_told(&misused), TG_INVALID_ARGUMENT);
}

static void test_repetition_while_the_first_is_written(void **state)
{
    (void)state;
    struct outcome first = OUTCOME;
    struct outcome repeated = OUTCOME;
    set_disk(true, TG_OK);
    submit(1, 2, &first);
    wait_until_hanging();
    submit(1, 2, &repeated);
    set_disk(false, TG_OK);
    assert_int_equal(wait_told(&first), TG_OK);
    assert_int_equal(wait_told(&repeated), TG_OK);
    assert_int_equal(first.first, repeated.first);
    assert_int_equal(entries_on_disk(), 2);
}

/* What comes in while the disk works goes out together. */
static void test_group_commit(void **state)
{
    (void)state;
    struct outcome outcomes[6] = {OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME};
    set_disk(true, TG_OK);
    submit(0, 1, &outcomes[0]);
    wait_until_hanging();
    for (uint8_t i = 1; i < 6; i++)
        submit(i, 1, &outcomes[i]);
    set_disk(false, TG_OK);
    for (uint8_t i = 0; i < 6; i++)
        wait_told(&outcomes[i]);
    assert_int_equal(disk.appends, 2);
}

static void test_close_answers_what_is_left(void **state)
{
    (void)state;
    struct outcome writing = OUTCOME;
    struct outcome queued = OUTCOME;
    set_disk(true, TG_OK);
    submit(1, 1, &writing);
    wait_until_hanging();
    submit(2, 1, &queued);
    assert_false(committer_close(committer)); /* the disk hangs: nothing was freed */
    assert_int_equal(writing.told, 1);
    assert_int_equal(queued.told, 1);
    assert_int_equal(queued.status, TG_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_patient, close_committer)
#define IMPATIENT(name) cmocka_unit_test_setup_teardown(name, open_impatient, close_committer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failing_disk_refuses_and_recovers),
        TEST(test_disk_recovers_without_callers),
        IMPATIENT(test_hung_disk_refuses_all),
        IMPATIENT(test_repetition_after_hang),
        TEST(test_full_queue_refuses),
        TEST(test_repetition_gets_the_first_answer),
        TEST(test_repetition_while_the_first_is_written),
        TEST(test_group_commit),
        IMPATIENT(test_close_answers_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
