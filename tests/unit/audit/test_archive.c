/* Retention: what is old goes to the archive, nothing else, and nothing gets lost on the way. */
#include "tests/unit/audit/archive_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "services/audit/log/bundle.h"
#include "tests/unit/audit/bad_disk.h"

static bool there(const char *directory, const char *name)
{
    return access(below(directory, name), F_OK) == 0;
}

static void flip(const char *path)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 60), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 60), 1);
    close(fd);
}

static void assert_says(const struct tg_error *err, const char *text)
{
    if (strstr(err->text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err->text);
}

static void assert_archiving(struct log_writer *log, enum tg_code code, const char *text)
{
    struct tg_error err = {0};
    assert_int_equal(archive_all(log, &err), code);
    assert_says(&err, text);
}

static void assert_verify(struct log_writer *log, enum tg_code code, const char *text)
{
    struct log_verdict found = {0};
    struct tg_error err = {0};
    assert_int_equal(log->ops->verify(log, NULL, keep_going, NULL, &found, &err), code);
    assert_says(&err, text);
}

static void assert_read(struct log_writer *log, uint64_t from, enum tg_code code, const char *text)
{
    struct counted counted = {0};
    struct tg_error err = {0};
    assert_int_equal(log->ops->read(log, from, count_line, &counted, &err), code);
    assert_says(&err, text);
}

/* ---- what must not be moved ---- */

static void test_log_without_an_archive(void **state)
{
    struct log_writer *log = open_archived(*state, NULL, NULL);
    assert_archiving(log, TG_FAILED_PRECONDITION, "no archive");
    log->ops->close(log);
}

static void test_archive_that_is_away(void **state)
{
    struct log_writer *log = open_archived(*state, "not-mounted", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    assert_archiving(log, TG_UNAVAILABLE, "not-mounted: cannot open it");
    assert_intact(log, 600);
    log->ops->close(log);
}

static void test_archive_that_is_the_log(void **state)
{
    struct log_writer *log = open_archived(*state, "log", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    assert_archiving(log, TG_FAILED_PRECONDITION, "is the log itself");
    assert_intact(log, 601);
    assert_true(there(*state, "log/tile/entries/000"));
    log->ops->close(log);
}

static void test_young_entries_stay_and_all_behind_them(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 300, OLD_MS);
    append_of(log, 1, YOUNG_MS);
    append_of(log, 600, OLD_MS);
    append_many(log, 256); /* of no time at all */
    assert_intact(log, 300 + 1 + 600 + 256);
    assert_archiving(log, TG_OK, "");
    assert_true(there(*state, "archive/tile/entries/000"));
    assert_false(there(*state, "log/tile/entries/000"));
    assert_false(there(*state, "archive/tile/entries/001"));
    assert_true(there(*state, "log/tile/entries/001"));
    assert_true(there(*state, "log/tile/entries/002"));
    uint64_t next = log->ops->next(log);
    assert_archiving(log, TG_OK, "");
    assert_int_equal(log->ops->next(log), next); /* nothing moved, nothing announced */
    log->ops->close(log);
}

static void test_entries_without_a_time_stay(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_many(log, 600);
    assert_intact(log, 600);
    assert_archiving(log, TG_OK, "");
    assert_true(there(*state, "log/tile/entries/000"));
    log->ops->close(log);
}

static void test_altered_bundle_is_not_moved(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    flip(below(*state, "log/tile/entries/001"));
    assert_archiving(log, TG_DATA_LOSS, "is not the one that was signed");
    assert_true(there(*state, "log/tile/entries/000"));
    assert_true(there(*state, "log/tile/entries/001"));
    assert_false(there(*state, "archive/tile/entries/001"));
    log->ops->close(log);
}

static void test_differing_copies_are_left_alone(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    assert_int_equal(mkdir(below(*state, "archive/tile"), 0700), 0);
    assert_int_equal(mkdir(below(*state, "archive/tile/entries"), 0700), 0);
    char *bundle = NULL;
    size_t len = 0;
    assert_int_equal(file_read(below(*state, "log/tile/entries/000"), BUNDLE_MAX, &bundle, &len, NULL),
                     TG_OK);
    bundle[60] ^= 1;
    assert_int_equal(file_write_new(below(*state, "archive/tile/entries/000"), bundle, len, NULL), TG_OK);
    assert_archiving(log, TG_DATA_LOSS, "tile/entries/000 in the log and in the archive");
    char *after = NULL;
    assert_int_equal(file_read(below(*state, "archive/tile/entries/000"), BUNDLE_MAX, &after, &len, NULL),
                     TG_OK);
    assert_memory_equal(after, bundle, len);
    assert_intact(log, 600);
    free(after);
    free(bundle);
    log->ops->close(log);
}

static enum tg_code alter_the_copy(void *arg, uint64_t first, uint64_t last, uint64_t *sequence,
                                   struct tg_error *err)
{
    struct tlog *log = arg;
    char path[600];
    snprintf(path, sizeof path, "%s/tile/entries/001", log->archive);
    flip(path);
    return append_announcement(arg, first, last, sequence, err);
}

/* Between writing and taking off, on a disk that does not keep what it is given. */
static void test_copy_is_read_back(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    struct tg_error err = {0};
    append_of(log, 800, OLD_MS);
    assert_intact(log, 800);
    struct tlog_archiving archiving = {
        .before_ms = LIMIT_MS, .bundle_max = 10, .announce = alter_the_copy, .go_on = keep_going, .arg = log};
    assert_int_equal(tlog_archive(log, &archiving, &err), TG_DATA_LOSS);
    assert_int_equal(archiving.count, 256);
    assert_true(there(*state, "log/tile/entries/001"));
    assert_true(there(*state, "log/tile/entries/002"));
    assert_intact(log, 801);
    log->ops->close(log);
}

static enum tg_code refuse(void *arg, uint64_t first, uint64_t last, uint64_t *sequence, struct tg_error *err)
{
    (void)arg;
    (void)first;
    (void)last;
    (void)sequence;
    return tg_fail(err, TG_UNAVAILABLE, "the log takes nothing");
}

static void test_nothing_leaves_unannounced(void **state)
{
    struct log_writer *log = open_archived(*state, "archive", NULL);
    struct tg_error err = {0};
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    struct tlog_archiving archiving = {
        .before_ms = LIMIT_MS, .bundle_max = 10, .announce = refuse, .go_on = keep_going, .arg = log};
    assert_int_equal(tlog_archive(log, &archiving, &err), TG_UNAVAILABLE);
    assert_true(there(*state, "log/tile/entries/000"));
    log->ops->close(log);
}

/* Durable is not enough: a verifier sees what a checkpoint covers. Nothing signs in a log that is not
 * started. */
static void test_nothing_leaves_before_a_checkpoint_says_so(void **state)
{
    static const char *const names[] = {"log.key"};
    struct tlog_options options = {.archive = below(*state, "archive")};
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    log->ops->close(log);
    assert_int_equal(open_log_with(&log, below(*state, "log"), names, 1, options, NULL), TG_OK);
    assert_archiving(log, TG_UNAVAILABLE, "no checkpoint covers the announcement");
    log->ops->close(log);
    assert_true(there(*state, "log/tile/entries/000"));
    assert_true(there(*state, "log/tile/entries/001"));
}

/* ---- what is found later ---- */

static void test_altered_archive_is_found(void **state)
{
    struct log_writer *log = make_archived(*state);
    flip(below(*state, "archive/tile/entries/001"));
    assert_read(log, 0, TG_DATA_LOSS, "is not the one that was signed");
    assert_verify(log, TG_DATA_LOSS, "tile/0/001 does not hold what the entries hash to");
    char *receipt = NULL;
    assert_int_equal(log->ops->receipt(log, 300, 0, &receipt, NULL), TG_DATA_LOSS);
    log->ops->close(log);
}

static void test_bundle_lost_from_the_archive_is_found(void **state)
{
    struct log_writer *log = make_archived(*state);
    unlink(below(*state, "archive/tile/entries/002"));
    assert_verify(log, TG_DATA_LOSS, "tile/entries/002 is neither in the log nor in its archive");
    assert_read(log, 600, TG_UNAVAILABLE, "does not give event 512");
    append_of(log, 600, OLD_MS);
    assert_verify(log, TG_DATA_LOSS, "neither");
    assert_archiving(log, TG_UNAVAILABLE, "does not hold what was archived last");
    log->ops->close(log);
}

static void test_hole_is_found(void **state)
{
    struct log_writer *log = open_archived(*state, NULL, NULL);
    append_of(log, 1000, OLD_MS);
    assert_intact(log, 1000);
    unlink(below(*state, "log/tile/entries/001"));
    assert_verify(log, TG_DATA_LOSS, "tile/entries/001 is missing, and older ones are there");
    assert_read(log, 256, TG_DATA_LOSS, "tile/entries/001 is missing");
    log->ops->close(log);
}

static void test_missing_edge_is_found(void **state)
{
    struct log_writer *log = open_archived(*state, NULL, NULL);
    append_of(log, 100, OLD_MS);
    assert_intact(log, 100);
    unlink(below(*state, "log/tile/entries/000.p/100"));
    assert_verify(log, TG_DATA_LOSS, "tile/entries/000.p/100");
    assert_read(log, 0, TG_DATA_LOSS, "tile/entries/000.p/100");
    log->ops->close(log);
}

static void test_unannounced_absence_is_found(void **state)
{
    struct log_writer *log = open_archived(*state, NULL, NULL);
    append_of(log, 1000, OLD_MS);
    assert_intact(log, 1000);
    unlink(below(*state, "log/tile/entries/000"));
    assert_verify(log, TG_DATA_LOSS, "events 0 to 255 are not in the log, but it announces only that 0");
    log->ops->close(log);
}

static void test_absence_beyond_the_announced_is_found(void **state)
{
    struct log_writer *log = make_archived(*state);
    append_of(log, 1000, YOUNG_MS);
    assert_intact(log, ENTRIES + 1000);
    unlink(below(*state, "log/tile/entries/003")); /* with the announcement, perhaps */
    log->ops->close(log);
    log = open_archived(*state, NULL, NULL);
    assert_verify(log, TG_DATA_LOSS, "events 0 to 1023 are not in the log");
    log->ops->close(log);
}

static void test_announcements(void **state)
{
    static const struct {
        const char *entry;
        uint64_t announced;
    } entries[] = {
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.archived\"},\"message\":\"events 0 to 511 "
         "go\"}",
         512},
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.archived\"},\"message\":\"events 512 to 767\"",
         768},
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.started\"},\"message\":\"events 0 to 511 "
         "go\"}",
         0},
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.archived\"},\"message\":\"events 0\"}", 0},
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.archived\"},\"message\":\"events \"}", 0},
        {"{\"metadata\":{\"sequence\":7,\"event_code\":\"audit.archived\"},\"message\":\"all\"}", 0},
        {"{\"metadata\":{\"event_code\":\"x\"},\"message\":\"\\\"event_code\\\":\\\"audit.archived\\\"\"}",
         0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        size_t len = strlen(entries[i].entry);
        char *exact = strndup(entries[i].entry, len); /* where a sanitizer sees its end */
        assert_int_equal(bundle_announced(exact, len), entries[i].announced);
        free(exact);
    }
}

/* ---- what works ---- */

static void test_everything_is_read_across_the_boundary(void **state)
{
    struct log_writer *log = make_archived(*state);
    struct tile_bytes bytes = {0};
    assert_false(there(*state, "log/tile/entries/002"));
    assert_true(there(*state, "log/tile/0/002"));
    assert_true(there(*state, "archive/tile/entries/002"));
    assert_int_equal(count_lines(log, 0), ENTRIES);
    assert_int_equal(count_lines(log, 700), ENTRIES - 700);
    assert_intact(log, ENTRIES);
    const struct tile whole = {TILE_ENTRIES, 1, TILE_WIDTH};
    const struct tile part = {TILE_ENTRIES, 1, 5};
    assert_int_equal(log->ops->tile(log, &whole, &bytes, NULL), TG_OK);
    assert_int_equal(log->ops->tile(log, &part, &bytes, NULL), TG_OK);
    tile_bytes_free(&bytes);
    log->ops->close(log);
    log = open_archived(*state, "archive", NULL);
    assert_intact(log, ENTRIES);
    log->ops->close(log);
}

static void test_archive_away_later(void **state)
{
    struct log_verdict found = {0};
    struct tg_error err = {0};
    struct log_writer *log = make_archived(*state);
    assert_int_equal(rename(below(*state, "archive"), below(*state, "unmounted")), 0);
    assert_read(log, 0, TG_UNAVAILABLE, "events 0 to 767 lie in the archive");
    assert_int_equal(count_lines(log, GONE), ENTRIES - GONE);
    assert_int_equal(log->ops->verify(log, NULL, keep_going, NULL, &found, &err), TG_OK);
    assert_int_equal(found.entries, ENTRIES);
    assert_int_equal(found.archived, GONE);
    append_of(log, 1000, OLD_MS); /* logging goes on */
    assert_archiving(log, TG_UNAVAILABLE, "cannot open it");
    assert_int_equal(mkdir(below(*state, "archive"), 0700), 0); /* a mount point with nothing on it */
    assert_archiving(log, TG_UNAVAILABLE, "does not hold what was archived last");
    assert_int_equal(rmdir(below(*state, "archive")), 0);
    assert_int_equal(rename(below(*state, "unmounted"), below(*state, "archive")), 0);
    assert_int_equal(count_lines(log, 0), ENTRIES + 1000);
    assert_intact(log, ENTRIES + 1000);
    log->ops->close(log);
    log = open_archived(*state, NULL, NULL);
    assert_read(log, 0, TG_UNAVAILABLE, "archive.directory does not say where");
    log->ops->close(log);
}

static void test_more_than_one_run(void **state)
{
    uint64_t moved = 0;
    bool more = false;
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 600, OLD_MS);
    assert_intact(log, 600);
    assert_int_equal(archive_some(log, 1, &moved, &more, NULL), TG_OK);
    assert_true(moved == 256 && more);
    assert_int_equal(archive_some(log, 1, &moved, &more, NULL), TG_OK);
    assert_true(moved == 256 && !more);
    assert_int_equal(archive_some(log, 1, &moved, &more, NULL), TG_OK);
    assert_true(moved == 0 && !more);
    assert_intact(log, 602);
    log->ops->close(log);
}

static void check_receipt(struct log_writer *log, const char *text, uint64_t index)
{
    struct receipt receipt;
    struct checkpoint checkpoint;
    struct tg_error err = {0};
    char event[32];
    if (receipt_open(text, strlen(text), log->ops->keys(log), &receipt, &checkpoint, &err) != TG_OK)
        fail_msg("%s", err.text);
    snprintf(event, sizeof event, "\"test.%llu\"", (unsigned long long)index);
    assert_int_equal(receipt.index, index);
    assert_non_null(memmem(receipt.entry, receipt.entry_len, event, strlen(event)));
    receipt_free(&receipt);
}

static void test_receipts_before_and_after(void **state)
{
    static const uint64_t indices[] = {0, 255, 256, 700, 767};
    char *before[5];
    struct log_verdict found = {0};
    struct log_writer *log = open_archived(*state, "archive", NULL);
    append_of(log, 1000, OLD_MS);
    assert_intact(log, 1000);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(log->ops->receipt(log, indices[i], 60000, &before[i], NULL), TG_OK);
    assert_archiving(log, TG_OK, "");
    for (size_t i = 0; i < 5; i++) {
        char *after = NULL;
        assert_int_equal(log->ops->receipt(log, indices[i], 60000, &after, NULL), TG_OK);
        check_receipt(log, after, indices[i]);
        free(after);
    }
    assert_int_equal(rename(below(*state, "archive"), below(*state, "unmounted")), 0);
    for (size_t i = 0; i < 5; i++) { /* and the log goes on from the checkpoint in it */
        check_receipt(log, before[i], indices[i]);
        const char *note = strstr(before[i], "\n\n") + 2;
        assert_int_equal(log->ops->verify(log, note, keep_going, NULL, &found, NULL), TG_OK);
        free(before[i]);
    }
    log->ops->close(log);
}

/* ---- killed, and failing ---- */

static _Noreturn void archive_until_step(const char *directory, long step, bool after)
{
    disk_heal();
    struct log_writer *log = open_archived(directory, "archive", &bad_io);
    atomic_store(&disk.kill, true);
    atomic_store(&disk.after, after);
    atomic_store(&disk.steps, step);
    _exit(archive_all(log, NULL) == TG_OK ? 0 : 2);
}

/* Entries that the log and its archive have together, each bundle in at least one. */
static void assert_nothing_lost(const char *directory)
{
    struct log_writer *log = open_archived(directory, "archive", NULL);
    uint64_t next = log->ops->next(log);
    assert_intact(log, next);
    assert_int_equal(count_lines(log, 0), next);
    struct log_verdict found = {0};
    struct tg_error err = {0};
    free(((struct tlog *)log)->archive); /* and what has left was announced */
    ((struct tlog *)log)->archive = NULL;
    if (log->ops->verify(log, NULL, keep_going, NULL, &found, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(found.archived % TILE_WIDTH, 0);
    log->ops->close(log);
}

/* True: the step was reached. Each time there is something to move. */
static bool check_kill_at(const char *directory, long step, bool after)
{
    int status = 0;
    struct log_writer *log = open_archived(directory, "archive", NULL);
    append_of(log, 520, OLD_MS);
    assert_intact(log, log->ops->next(log));
    log->ops->close(log);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        archive_until_step(directory, step, after);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
    assert_nothing_lost(directory);
    return WEXITSTATUS(status) == 9;
}

static void check_kills(const char *directory, bool after)
{
    long step = 0;
    while (check_kill_at(directory, step, after)) {
        struct tg_error err = {0};
        struct log_writer *log = open_archived(directory, "archive", NULL);
        if (step % 2 == 0 && archive_all(log, &err) != TG_OK) /* the next run goes on, or the one after it */
            fail_msg("step %ld: %s", step, err.text);
        log->ops->close(log);
        assert_nothing_lost(directory);
        step++;
    }
    assert_true(step > 30);
}

static void test_killed_before_each_step(void **state)
{
    check_kills(*state, false);
}

static void test_killed_after_each_step(void **state)
{
    check_kills(*state, true);
}

static void append_until_taken(struct log_writer *log)
{
    static char body[] = "\"event_code\":\"test\"},\"time\":1,\"x\":0}";
    struct log_entry entry = {body, sizeof body - 1};
    uint64_t first = 0;
    while (log->ops->append(log, &entry, 1, &first, NULL) != TG_OK)
        sched_yield();
}

/* The archive is full, read-only or broken from some step on, or the log is: nothing is lost, and it goes on.
 */
static void test_fault_at_every_step(void **state)
{
    static const int errors[] = {ENOSPC, EROFS, EIO};
    struct tg_error err = {0};
    long step = 0;
    disk_heal();
    struct log_writer *log = open_archived(*state, "archive", &bad_io);
    for (bool reached = true; reached && step < 200; step++) {
        append_of(log, 260, OLD_MS);
        assert_intact(log, log->ops->next(log));
        disk_fail_at(step, errors[step % 3], step % 2 == 0);
        enum tg_code code = archive_all(log, &err);
        reached = atomic_load(&disk.steps) < 0;
        disk_heal();
        if (!reached)
            assert_int_equal(code, TG_OK);
        append_until_taken(log);
        assert_intact(log, log->ops->next(log));
        assert_int_equal(count_lines(log, 0), log->ops->next(log));
    }
    assert_true(step > 30);
    log->ops->close(log);
    assert_nothing_lost(*state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_two_directories, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log_without_an_archive),
        TEST(test_archive_that_is_away),
        TEST(test_archive_that_is_the_log),
        TEST(test_young_entries_stay_and_all_behind_them),
        TEST(test_entries_without_a_time_stay),
        TEST(test_altered_bundle_is_not_moved),
        TEST(test_differing_copies_are_left_alone),
        TEST(test_copy_is_read_back),
        TEST(test_nothing_leaves_unannounced),
        TEST(test_nothing_leaves_before_a_checkpoint_says_so),
        TEST(test_altered_archive_is_found),
        TEST(test_bundle_lost_from_the_archive_is_found),
        TEST(test_hole_is_found),
        TEST(test_missing_edge_is_found),
        TEST(test_unannounced_absence_is_found),
        TEST(test_absence_beyond_the_announced_is_found),
        cmocka_unit_test(test_announcements),
        TEST(test_everything_is_read_across_the_boundary),
        TEST(test_archive_away_later),
        TEST(test_more_than_one_run),
        TEST(test_receipts_before_and_after),
        TEST(test_killed_before_each_step),
        TEST(test_killed_after_each_step),
        TEST(test_fault_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
