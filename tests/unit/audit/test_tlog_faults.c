/* A disk that fails at any step, and a process that is killed between any two of them: nothing acknowledged
 * is lost, no two checkpoints contradict each other, and it goes on by itself. */
#include "tests/unit/audit/audit_fixture.h"
#include "tests/unit/audit/bad_disk.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- appending alone ---- */

static struct log_writer *open_unstarted(const char *directory)
{
    static const char *const names[] = {"log.key"};
    struct tlog_options options = {.io = &bad_io};
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    disk_heal();
    if (open_log_with(&log, directory, names, 1, options, &err) != TG_OK)
        fail_msg("%s", err.text);
    return log;
}

/* The failed batch left nothing behind, and the next one takes its place. */
static void check_recovers(struct log_writer *log, const char *directory)
{
    disk_heal();
    assert_int_equal(count_lines(log, 0), 1);
    assert_int_equal(append_one(log, 7, NULL), 1);
    assert_int_equal(count_lines(log, 0), 2);
    log->ops->close(log);
    log = open_log(directory);
    assert_intact(log, 2);
    log->ops->close(log);
    assert_int_equal(torn_files(directory), 0);
}

static void check_append_fails_at(const char *directory, long step, int error, enum tg_code code)
{
    struct tg_error err = {0};
    struct log_writer *log = open_unstarted(directory);
    assert_int_equal(append_one(log, 0, &err), 0);
    disk_fail_at(step, error, false);
    assert_int_equal(append_one(log, 1, &err), NOT_APPENDED);
    assert_int_equal(err.code, code);
    assert_int_equal(append_one(log, 1, &err), NOT_APPENDED);
    assert_int_equal(count_lines(log, 0), 1);
    check_recovers(log, directory);
}

static void test_full_disk(void **state)
{
    check_append_fails_at(*state, 0, ENOSPC, TG_RESOURCE_EXHAUSTED);
}

static void test_read_only_disk(void **state)
{
    check_append_fails_at(*state, 0, EROFS, TG_UNAVAILABLE);
}

static void test_failing_sync(void **state)
{
    check_append_fails_at(*state, 1, EIO, TG_UNAVAILABLE);
}

static void test_failed_batch_that_cannot_be_truncated_at_once(void **state)
{
    static char longer[] = "\"x\":0},\"event\":\"test.longer\"}";
    struct tg_error err = {0};
    struct log_writer *log = open_unstarted(*state);
    assert_int_equal(append_one(log, 0, &err), 0);
    disk_fail_at(1, EIO, false); /* the sync, and then the truncation */
    struct log_entry two[] = {{longer, sizeof longer - 1}, {longer, sizeof longer - 1}};
    uint64_t first = 0;
    assert_int_equal(log->ops->append(log, two, 2, &first, &err), TG_UNAVAILABLE);
    disk_fail_at(0, EIO, true); /* the truncation only */
    assert_int_equal(append_one(log, 1, &err), NOT_APPENDED);
    check_recovers(log, *state);
}

/* The kernel itself says that there is no room. */
static void fill_to_the_limit(const char *directory)
{
    signal(SIGXFSZ, SIG_IGN);
    struct log_writer *log = open_log(directory);
    struct rlimit again = {RLIM_INFINITY, RLIM_INFINITY};
    struct tg_error err = {0};
    getrlimit(RLIMIT_FSIZE, &again);
    struct rlimit limit = {8192, again.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    int64_t last = -1;
    for (int64_t sequence = 0; sequence != NOT_APPENDED; sequence = append_one(log, 1, &err))
        last = sequence;
    bool good = err.code == TG_RESOURCE_EXHAUSTED && last > 10 && last < 100;
    setrlimit(RLIMIT_FSIZE, &again);
    while (append_one(log, 2, &err) == NOT_APPENDED) /* at the latest when the tiles are written again */
        sched_yield();
    good = good && log->ops->next(log) == (uint64_t)last + 2;
    log->ops->close(log);
    if (!good)
        fprintf(stderr, "last %lld: %s\n", (long long)last, err.text);
    _exit(good ? 0 : 1);
}

static void test_file_size_limit(void **state)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        fill_to_the_limit(*state);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct log_writer *log = open_log(*state);
    assert_intact(log, log->ops->next(log));
    log->ops->close(log);
}

/* ---- taking entries into tiles ---- */

/* Appends until the service takes entries again; returns how many it took. */
static uint64_t append_until(struct log_writer *log, uint64_t more)
{
    struct tg_error err = {0};
    uint64_t taken = 0;
    while (taken < more) {
        if (append_one(log, 1, &err) == NOT_APPENDED)
            sched_yield();
        else
            taken++;
    }
    return taken;
}

/* Whatever step fails, for a while or once: then it goes on, and the log is whole. */
static void check_fault_at(const char *directory, long step, int error, bool once, bool *reached)
{
    char *before = NULL;
    disk_heal();
    struct log_writer *log = open_log_io(directory, &bad_io);
    uint64_t entries = log->ops->next(log);
    assert_int_equal(log->ops->checkpoint(log, &before, NULL), TG_OK);
    disk_fail_at(step, error, once);
    for (unsigned i = 0; i < 3; i++)
        entries += append_one(log, 1, NULL) != NOT_APPENDED;
    struct log_verdict found = {0};
    struct tg_error err = {0};
    (void)log->ops->verify(log, NULL, keep_going, NULL, &found, &err); /* until it is signed, or fails */
    *reached = atomic_load(&disk.steps) < 0;
    disk_heal();
    entries += append_until(log, 2);
    if (log->ops->verify(log, before, keep_going, NULL, &found, &err) != TG_OK)
        fail_msg("step %ld: %s", step, err.text);
    assert_int_equal(found.entries, entries);
    assert_int_equal(count_lines(log, 0), entries);
    log->ops->close(log);
    free(before);
}

static void test_fault_at_every_step(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EROFS};
    struct log_writer *log = open_log(*state);
    append_many(log, 250); /* bundles and tiles become full while it fails */
    log->ops->close(log);
    bool reached = true;
    long step = 0;
    for (; reached && step < 1000; step++)
        check_fault_at(*state, step, errors[step % 3], step % 2 == 0, &reached);
    assert_true(step > 15);
}

/* ---- killed ---- */

/* In the child: appends batches, telling of each that was acknowledged, until it is killed at that step. */
static _Noreturn void work_until_step(const char *directory, long step, bool after, int pipe)
{
    static const char *const names[] = {"log.key"};
    struct tlog_options options = {.io = &bad_io, .journal_size = 2048, .integrate_ms = 1};
    struct log_writer *log = NULL;
    atomic_store(&disk.kill, true);
    atomic_store(&disk.after, after);
    atomic_store(&disk.steps, step);
    if (open_log_with(&log, directory, names, 1, options, NULL) != TG_OK ||
        log->ops->start(log, NULL) != TG_OK)
        _exit(2);
    for (unsigned i = 0; i < 12; i++) {
        struct log_verdict found;
        append_many(log, 1 + i * 7 % 40);
        uint64_t end = log->ops->next(log);
        if (write(pipe, &end, sizeof end) != sizeof end)
            _exit(3);
        if (i % 3 == 2) /* until it is in tiles */
            (void)log->ops->verify(log, NULL, keep_going, NULL, &found, NULL);
    }
    log->ops->close(log);
    _exit(0);
}

/* True: the step was reached. */
static bool check_kill_at(const char *directory, long step, bool after, char **note)
{
    int ends[2];
    int status = 0;
    uint64_t acknowledged = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        work_until_step(directory, step, after, ends[1]);
    close(ends[1]);
    for (uint64_t end = 0; read(ends[0], &end, sizeof end) == sizeof end;)
        acknowledged = end;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));

    struct log_verdict found = {0};
    struct tg_error err = {0};
    struct log_writer *log = open_log(directory);
    assert_true(log->ops->next(log) >= acknowledged);
    assert_int_equal(count_lines(log, 0), log->ops->next(log));
    /* What was signed before is continued by what is signed now. */
    if (log->ops->verify(log, *note, keep_going, NULL, &found, &err) != TG_OK)
        fail_msg("step %ld: %s", step, err.text);
    assert_int_equal(found.entries, log->ops->next(log));
    free(*note);
    assert_int_equal(log->ops->checkpoint(log, note, NULL), TG_OK);
    log->ops->close(log);
    return WEXITSTATUS(status) == 9;
}

static void check_kills(const char *directory, bool after)
{
    char *note = NULL;
    long steps = 0;
    /* All of the first start, and then, since there are hundreds, every seventh. */
    for (long step = 0; check_kill_at(directory, step, after, &note); step += step < 40 ? 1 : 7)
        steps = step;
    assert_true(steps > 100);
    free(note);
}

static void test_killed_before_each_step(void **state)
{
    check_kills(*state, false);
}

static void test_killed_after_each_step(void **state)
{
    check_kills(*state, true);
}

/* ---- a file that is there already ---- */

static void test_nothing_is_signed_over_foreign_tiles(void **state)
{
    char path[512];
    struct tg_error err = {0};
    struct log_verdict found = {0};
    struct log_writer *log = open_log(*state);
    append_many(log, 10);
    assert_intact(log, 10);
    snprintf(path, sizeof path, "%s/tile/entries/000.p/11", (const char *)*state);
    /* Of the right form, beginning as it should. */
    char *bundle = NULL;
    size_t len = 0;
    char ten[512];
    snprintf(ten, sizeof ten, "%s/tile/entries/000.p/10", (const char *)*state);
    assert_int_equal(file_read(ten, 65536, &bundle, &len, NULL), TG_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(bundle, 1, len, file);
    fwrite("\0\012{\"fine\":1}", 1, 12, file);
    fclose(file);
    free(bundle);
    assert_int_equal(append_one(log, 1, &err), 10);
    (void)log->ops->verify(log, NULL, keep_going, NULL, &found, &err);
    assert_int_equal(found.entries, 10); /* the eleventh is durable, but not signed */
    while (append_one(log, 1, &err) != NOT_APPENDED)
        sched_yield();
    assert_int_equal(err.code, TG_DATA_LOSS);
    assert_non_null(strstr(err.text, "tile/entries/000.p/11"));
    log->ops->close(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_full_disk),
        TEST(test_read_only_disk),
        TEST(test_failing_sync),
        TEST(test_failed_batch_that_cannot_be_truncated_at_once),
        TEST(test_file_size_limit),
        TEST(test_fault_at_every_step),
        TEST(test_killed_before_each_step),
        TEST(test_killed_after_each_step),
        TEST(test_nothing_is_signed_over_foreign_tiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
