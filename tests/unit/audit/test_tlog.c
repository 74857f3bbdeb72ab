/* The log in its directory: what it holds, what it proves, and what stops its start. */
#include "tests/unit/audit/audit_fixture.h"

#include <fcntl.h>
#include <sys/wait.h>

static void path_in(const char *directory, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", directory, name);
}

static void write_at(const char *directory, const char *name, off_t offset, const void *bytes, size_t len)
{
    char path[512];
    path_in(directory, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, offset < 0 ? lseek(fd, 0, SEEK_END) : offset), len);
    close(fd);
}

static void flip(const char *directory, const char *name, off_t offset)
{
    char path[512];
    uint8_t byte = 0;
    path_in(directory, name, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void make_log(const char *directory, unsigned entries)
{
    struct log_writer *log = open_log(directory);
    append_many(log, entries);
    log->ops->close(log);
}

/* Entries that are durable and not in tiles, as kill -9 leaves them. */
static void leave_pending(const char *directory, unsigned batches)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static const char *const names[] = {"log.key"};
        struct tlog_options options = {0};
        struct log_writer *log = NULL;
        if (open_log_with(&log, directory, names, 1, options, NULL) != TG_OK)
            _exit(1);
        for (unsigned i = 0; i < batches; i++) {
            if (append_one(log, i, NULL) == NOT_APPENDED)
                _exit(2);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_refused_with(const char *directory, const char *key, const char *text)
{
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    struct tlog_options options = {0};
    assert_int_not_equal(open_log_with(&log, directory, &key, 1, options, &err), TG_OK);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void assert_refused(const char *directory, const char *text)
{
    assert_refused_with(directory, "log.key", text);
}

static void test_missing_directory_is_refused(void **state)
{
    char path[512];
    char key[512];
    make_key_file(*state, "log.key", key);
    const char *keys[] = {key};
    path_in(*state, "not-there", path);
    struct tlog_options options = {.directory = path, .origin = TEST_ORIGIN, .keys = keys, .key_count = 1};
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    assert_int_equal(tlog_open(&log, &options, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "create the directory"));
}

static void test_second_process_is_refused(void **state)
{
    struct log_writer *log = open_log(*state);
    assert_refused(*state, "another audit process");
    log->ops->close(log);
    make_log(*state, 1);
}

static void test_other_key_is_refused(void **state)
{
    make_log(*state, 3);
    assert_refused_with(*state, "other.key", "signed by none of signing_keys");
}

static void test_changed_edge_is_refused(void **state)
{
    make_log(*state, 300);
    flip(*state, "tile/0/001.p/44", 40);
    assert_refused(*state, "not those of the checkpoint");
}

static void test_changed_last_entry_is_refused(void **state)
{
    make_log(*state, 300);
    flip(*state, "tile/entries/001.p/44", 30);
    assert_refused(*state, "event 256 is not the one that was signed");
}

static void test_missing_checkpoint_is_refused(void **state)
{
    char path[512];
    make_log(*state, 3);
    path_in(*state, "checkpoint", path);
    unlink(path);
    assert_refused(*state, "there are tiles, but no checkpoint");
}

static void test_missing_checkpoint_beside_pending_is_refused(void **state)
{
    char path[512];
    leave_pending(*state, 3);
    path_in(*state, "checkpoint", path);
    unlink(path);
    assert_refused(*state, "pending holds event 0");
}

static void test_missing_pending_is_refused(void **state)
{
    char path[512];
    make_log(*state, 3);
    path_in(*state, "pending/00000000000000000003", path);
    assert_int_equal(unlink(path), 0);
    assert_refused(*state, "make an empty file pending/00000000000000000003");
    write_at(*state, "pending/00000000000000000003", 0, "", 0);
    make_log(*state, 3);
}

static void test_older_checkpoint_is_refused(void **state)
{
    char *note = NULL;
    struct log_writer *log = open_log(*state);
    append_many(log, 10);
    assert_intact(log, 10);
    assert_int_equal(log->ops->checkpoint(log, &note, NULL), TG_OK);
    append_many(log, 300);
    log->ops->close(log);
    write_at(*state, "checkpoint", 0, note, strlen(note)); /* of the same length but for a digit or two */
    char path[512];
    path_in(*state, "checkpoint", path);
    assert_int_equal(truncate(path, (off_t)strlen(note)), 0);
    assert_refused(*state, "do not follow the checkpoint of 10 entries");
    free(note);
}

static void test_broken_pending_is_refused(void **state)
{
    leave_pending(*state, 5);
    flip(*state, "pending/00000000000000000000", JOURNAL_HEAD + 20);
    assert_refused(*state, "pending/00000000000000000000 is broken at byte 0, sequence 0");
}

static void check_torn(const char *directory, const void *end, size_t len)
{
    leave_pending(directory, 5);
    write_at(directory, "pending/00000000000000000000", -1, end, len);
    struct log_writer *log = open_log(directory);
    assert_int_equal(log->ops->next(log), 5);
    assert_int_equal(append_one(log, 5, NULL), 5);
    assert_intact(log, 6);
    log->ops->close(log);
    assert_int_equal(torn_files(directory), 1);
    log = open_log(directory);
    assert_intact(log, 6);
    log->ops->close(log);
}

static void test_torn_batch_is_moved_aside(void **state)
{
    uint8_t batch[JOURNAL_HEAD + 12] = {0};
    memcpy(batch + JOURNAL_HEAD, "\0\012{\"half\":1}", 12);
    journal_seal(batch, 5, 1, sizeof batch);
    check_torn(*state, batch, sizeof batch - 1);
}

static void test_garbage_is_moved_aside(void **state)
{
    check_torn(*state, "\0\0\0\0garbage", 11);
}

static void test_batch_out_of_order_is_refused(void **state)
{
    uint8_t batch[JOURNAL_HEAD + 12] = {0};
    memcpy(batch + JOURNAL_HEAD, "\0\012{\"fine\":1}", 12);
    journal_seal(batch, 7, 1, sizeof batch);
    leave_pending(*state, 5);
    write_at(*state, "pending/00000000000000000000", -1, batch, sizeof batch);
    assert_refused(*state, "sequence 5");
}

static void test_pending_is_there_after_a_kill(void **state)
{
    leave_pending(*state, 5);
    leave_pending(*state, 300);
    struct log_writer *log = open_log(*state);
    assert_int_equal(log->ops->next(log), 305);
    assert_int_equal(count_lines(log, 0), 305);
    assert_intact(log, 305);
    assert_int_equal(count_lines(log, 0), 305);
    log->ops->close(log);
}

static void test_new_log_has_a_checkpoint(void **state)
{
    char *note = NULL;
    struct log_writer *log = open_log(*state);
    assert_int_equal(log->ops->checkpoint(log, &note, NULL), TG_OK);
    /* SHA-256 of nothing */
    const char text[] =
        TEST_ORIGIN "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 " TEST_ORIGIN " ";
    assert_memory_equal(note, text, sizeof text - 1);
    free(note);
    assert_intact(log, 0);
    log->ops->close(log);
}

/* Over the edges of bundles, tiles and a level of tiles. */
static void test_many_entries(void **state)
{
    struct log_writer *log = open_log(*state);
    unsigned sizes[] = {255, 1, 1, 300, 65536 - 557, 1, 700};
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        append_many(log, sizes[i]);
        all += sizes[i];
        assert_intact(log, all);
        assert_int_equal(count_lines(log, all - 1), 1);
        assert_int_equal(count_lines(log, all > 300 ? all - 300 : 0), all > 300 ? 300 : all);
    }
    log->ops->close(log);
    log = open_log(*state);
    assert_int_equal(log->ops->next(log), all);
    assert_int_equal(append_one(log, 0, NULL), all);
    assert_intact(log, all + 1);
    assert_int_equal(count_lines(log, 0), all + 1);
    log->ops->close(log);
}

static void test_receipts(void **state)
{
    static const uint64_t numbers[] = {0, 1, 255, 256, 299, 599, 600, 699};
    struct log_writer *log = open_log(*state);
    char *text = NULL;
    append_many(log, 700);
    assert_int_equal(log->ops->receipt(log, 700, 0, &text, NULL), TG_NOT_FOUND);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct receipt receipt;
        struct checkpoint checkpoint;
        struct tg_error err = {0};
        char line[64];
        assert_int_equal(log->ops->receipt(log, numbers[i], 60000, &text, NULL), TG_OK);
        if (receipt_open(text, strlen(text), log->ops->keys(log), &receipt, &checkpoint, &err) != TG_OK)
            fail_msg("%s", err.text);
        assert_int_equal(receipt.index, numbers[i]);
        snprintf(line, sizeof line, "{\"metadata\":{\"sequence\":%llu,", (unsigned long long)numbers[i]);
        assert_memory_equal(receipt.entry, line, strlen(line));
        receipt_free(&receipt);
        char *index = strstr(text, "\nindex ") + 7;
        *index = *index == '1' ? '2' : '1'; /* another entry's number */
        assert_int_equal(receipt_open(text, strlen(text), log->ops->keys(log), &receipt, &checkpoint, &err),
                         TG_DATA_LOSS);
        free(text);
    }
    log->ops->close(log);
}

static void test_key_rotation(void **state)
{
    static const char *const both[] = {"log.key", "new.key"};
    static const char *const later[] = {"new.key"};
    struct log_writer *log = NULL;
    struct tlog_options options = {.integrate_ms = 1};
    make_log(*state, 3);
    assert_refused_with(*state, "new.key", "signed by none");
    assert_int_equal(open_log_with(&log, *state, both, 2, options, NULL), TG_OK);
    assert_int_equal(log->ops->start(log, NULL), TG_OK);
    append_many(log, 3);
    assert_intact(log, 6);
    log->ops->close(log);
    assert_int_equal(open_log_with(&log, *state, later, 1, options, NULL), TG_OK);
    assert_int_equal(log->ops->start(log, NULL), TG_OK);
    append_many(log, 3);
    assert_intact(log, 9);
    log->ops->close(log);
    assert_refused(*state, "signed by none"); /* the old one's time is over */
}

static void test_entry_that_is_too_long(void **state)
{
    enum { HEAD = 24, MAX = ENTRY_MAX - HEAD - 20 - 1 };
    struct log_writer *log = open_log(*state);
    struct tg_error err = {0};
    char *body = malloc(MAX + 1);
    assert_non_null(body);
    memset(body, '}', MAX + 1);
    struct log_entry entry = {body, MAX + 1};
    uint64_t first = 0;
    assert_int_equal(log->ops->append(log, &entry, 1, &first, &err), TG_INVALID_ARGUMENT);
    entry.len = MAX;
    assert_int_equal(log->ops->append(log, &entry, 1, &first, &err), TG_OK);
    assert_int_equal(append_one(log, 1, &err), 1);
    assert_intact(log, 2);
    log->ops->close(log);
    log = open_log(*state);
    assert_intact(log, 2);
    log->ops->close(log);
    free(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_missing_directory_is_refused),
        TEST(test_second_process_is_refused),
        TEST(test_other_key_is_refused),
        TEST(test_changed_edge_is_refused),
        TEST(test_changed_last_entry_is_refused),
        TEST(test_missing_checkpoint_is_refused),
        TEST(test_missing_checkpoint_beside_pending_is_refused),
        TEST(test_missing_pending_is_refused),
        TEST(test_older_checkpoint_is_refused),
        TEST(test_broken_pending_is_refused),
        TEST(test_torn_batch_is_moved_aside),
        TEST(test_garbage_is_moved_aside),
        TEST(test_batch_out_of_order_is_refused),
        TEST(test_pending_is_there_after_a_kill),
        TEST(test_new_log_has_a_checkpoint),
        TEST(test_many_entries),
        TEST(test_receipts),
        TEST(test_key_rotation),
        TEST(test_entry_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
