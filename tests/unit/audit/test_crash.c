/* kill -9 in the middle of the work: nothing that was acknowledged is lost, the tree is whole, and the next
 * start goes on where the last one ended. */
#include "tests/unit/audit/audit_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "services/audit/committer.h"

enum { ROUNDS = 20, IN_FLIGHT = 32 };

/* What the child tells its parent of one acknowledged submission. */
struct acknowledgement {
    uint64_t sequence;
    uint64_t number;
};

static struct {
    int pipe;
    unsigned round;
    pthread_mutex_t lock;
    pthread_cond_t room;
    unsigned in_flight;
} child = {.lock = PTHREAD_MUTEX_INITIALIZER, .room = PTHREAD_COND_INITIALIZER};

static void acknowledged(void *arg, enum tg_code status, const char *text, uint64_t first)
{
    uint64_t *number = arg;
    struct acknowledgement receipt = {first, *number};
    (void)text;
    if (status != TG_OK || write(child.pipe, &receipt, sizeof receipt) != sizeof receipt)
        _exit(2);
    free(number);
    pthread_mutex_lock(&child.lock);
    child.in_flight--;
    pthread_cond_signal(&child.room);
    pthread_mutex_unlock(&child.lock);
}

/* Each submission is two entries that carry its number. */
static void submit(struct committer *committer, uint64_t n)
{
    struct log_entry entries[2];
    uint8_t id[REQUEST_ID_LEN];
    uint64_t *number = malloc(sizeof *number);
    *number = n;
    random_bytes(id, sizeof id);
    for (int i = 0; i < 2; i++) {
        int len = asprintf(&entries[i].body, "\"x\":0},\"event\":\"test.%u.%llu\"}", child.round,
                           (unsigned long long)n);
        entries[i].len = (size_t)len;
    }
    committer_submit(committer, id, entries, 2, acknowledged, number);
}

static _Noreturn void work_until_killed(const char *directory)
{
    struct committer *committer = NULL;
    struct secret *key = secret_new(RECORD_KEY_LEN);
    struct committer_options options = {.log = open_log(directory),
                                        .ticket_key = key,
                                        .queue_events = 1024,
                                        .disk_timeout_ms = 120000,
                                        .retry_ms = 500};
    if (committer_open(&committer, &options, NULL) != TG_OK || committer_start(committer, NULL) != TG_OK)
        _exit(3);
    for (uint64_t n = 0;; n++) {
        pthread_mutex_lock(&child.lock);
        while (child.in_flight == IN_FLIGHT)
            pthread_cond_wait(&child.room, &child.lock);
        child.in_flight++;
        pthread_mutex_unlock(&child.lock);
        submit(committer, n);
    }
}

struct expected {
    const struct acknowledgement *receipts;
    size_t count;
    size_t found;
    unsigned round;
};

static bool check_line(void *arg, uint64_t sequence, const char *line, size_t len)
{
    struct expected *expected = arg;
    char text[64];
    for (size_t i = 0; i < expected->count; i++) {
        const struct acknowledgement *receipt = &expected->receipts[i];
        if (sequence < receipt->sequence || sequence > receipt->sequence + 1)
            continue;
        int text_len = snprintf(text, sizeof text, "\"test.%u.%llu\"", expected->round,
                                (unsigned long long)receipt->number);
        assert_non_null(memmem(line, len, text, (size_t)text_len));
        expected->found++;
    }
    return true;
}

static void one_round(const char *directory, unsigned round)
{
    static struct acknowledgement receipts[4096];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child.pipe = ends[1];
        child.round = round;
        work_until_killed(directory);
    }
    close(ends[1]);
    /* The moment differs from round to round; what is still in the pipe was acknowledged as well. */
    size_t count = 0;
    bool killed = false;
    while (count < sizeof receipts / sizeof receipts[0] &&
           read(ends[0], &receipts[count], sizeof receipts[0]) == sizeof receipts[0]) {
        count++;
        if (!killed && count == 1 + round * 13)
            killed = kill(pid, SIGKILL) == 0;
    }
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(killed && WIFSIGNALED(status));

    struct log_writer *log = open_log(directory);
    assert_intact(log, log->ops->next(log));
    struct expected expected = {receipts, count, 0, round};
    assert_int_equal(log->ops->read(log, 0, check_line, &expected, NULL), TG_OK);
    assert_int_equal(expected.found, 2 * count);
    log->ops->close(log);
}

static void test_nothing_acknowledged_is_lost(void **state)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        one_round(*state, round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_acknowledged_is_lost, make_directory, remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
