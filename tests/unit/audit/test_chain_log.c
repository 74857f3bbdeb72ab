#include "tests/unit/audit/audit_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SMALL = 64 << 10, LARGE = 64 << 20 };

static void segment_path(const char *directory, uint64_t first, char path[CHAIN_PATH_MAX])
{
    assert_int_equal(chain_file_path(directory, first, path, NULL), TG_OK);
}

static int open_segment(const char *directory, uint64_t first)
{
    char path[CHAIN_PATH_MAX];
    segment_path(directory, first, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static const struct chain_io quick_io = {pwrite, no_sync, ftruncate};

/* A log of `entries` lines, closed again. */
static void make_log(const char *directory, unsigned entries, off_t segment_size)
{
    struct log_writer *log = NULL;
    struct chain_options options = {.directory = directory, .segment_size = segment_size, .io = &quick_io};
    assert_int_equal(chain_log_open(&log, &options, NULL), TG_OK);
    for (unsigned i = 0; i < entries; i++)
        assert_int_equal(append_one(log, i, NULL), i + 1);
    log->ops->close(log);
}

static void assert_refused(const char *directory, const char *text)
{
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    struct chain_options options = {.directory = directory, .segment_size = LARGE};
    assert_int_not_equal(chain_log_open(&log, &options, &err), TG_OK);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static off_t size_of(int fd)
{
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    return info.st_size;
}

/* Offset of line n (from 0) of a file. */
static off_t line_offset(int fd, unsigned n)
{
    off_t len = size_of(fd);
    char *text = malloc((size_t)len);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)len, 0), len);
    const char *at = text;
    for (unsigned i = 0; i < n; i++) {
        at = memchr(at, '\n', (size_t)(text + len - at));
        assert_non_null(at);
        at++;
    }
    off_t offset = at - text;
    free(text);
    return offset;
}

static void overwrite(int fd, off_t offset, const char *bytes)
{
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), offset), strlen(bytes));
}

static void test_missing_directory_is_refused(void **state)
{
    (void)state;
    assert_refused("/tmp/tg-test-audit-is-not-there", "create the directory");
}

static void test_second_process_is_refused(void **state)
{
    struct log_writer *log = open_log(*state, LARGE);
    assert_refused(*state, "another audit process");
    log->ops->close(log);
    make_log(*state, 1, LARGE);
}

static void test_changed_line_is_refused(void **state)
{
    make_log(*state, 10, LARGE);
    int fd = open_segment(*state, 1);
    overwrite(fd, line_offset(fd, 4) + 34, "\"event\":\"TEST");
    off_t len = size_of(fd);
    assert_refused(*state,
                   "line 6 of segment 1 (sequence 6)"); /* the first that does not fit what is before it */
    assert_int_equal(size_of(fd), len);                 /* nothing is overwritten */
    close(fd);
}

static void test_removed_line_is_refused(void **state)
{
    make_log(*state, 10, LARGE);
    int fd = open_segment(*state, 1);
    off_t from = line_offset(fd, 5);
    off_t to = line_offset(fd, 6);
    off_t len = size_of(fd);
    char *rest = malloc((size_t)(len - to));
    assert_non_null(rest);
    assert_int_equal(pread(fd, rest, (size_t)(len - to), to), len - to);
    assert_int_equal(pwrite(fd, rest, (size_t)(len - to), from), len - to);
    assert_int_equal(ftruncate(fd, len - (to - from)), 0);
    free(rest);
    close(fd);
    assert_refused(*state, "line 6");
}

static void test_missing_segment_is_refused(void **state)
{
    make_log(*state, 2000, SMALL);
    uint64_t *first = NULL;
    size_t count = 0;
    char path[CHAIN_PATH_MAX];
    assert_int_equal(chain_file_list(*state, &first, &count, NULL), TG_OK);
    assert_true(count >= 3);
    segment_path(*state, first[1], path);
    unlink(path);
    free(first);
    assert_refused(*state, "do not follow each other");
}

static void test_cut_older_segment_is_refused(void **state)
{
    make_log(*state, 2000, SMALL);
    int fd = open_segment(*state, 1);
    assert_int_equal(ftruncate(fd, line_offset(fd, 7)), 0);
    close(fd);
    assert_refused(*state, "do not follow each other");
}

static unsigned torn_files(const char *directory)
{
    unsigned found = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        found += strstr(entry->d_name, ".torn-") != NULL;
    closedir(dir);
    return found;
}

static void check_torn(const char *directory, const char *end)
{
    make_log(directory, 5, LARGE);
    int fd = open_segment(directory, 1);
    overwrite(fd, size_of(fd), end);
    close(fd);
    struct log_writer *log = open_log(directory, LARGE);
    assert_int_equal(log->ops->next(log), 6);
    assert_int_equal(append_one(log, 5, NULL), 6);
    assert_intact(log, 6);
    log->ops->close(log);
    assert_int_equal(torn_files(directory), 1);
}

static void test_torn_line_is_moved_aside(void **state)
{
    check_torn(*state, "{\"metadata\":{\"sequence\":6,\"event\":\"half");
}

static void test_line_with_wrong_hash_at_the_end_is_moved_aside(void **state)
{
    check_torn(*state, "{\"metadata\":{\"sequence\":6,\"event\":\"x\",\"prev\":"
                       "\"0000000000000000000000000000000000000000000000000000000000000000\"}\n");
}

static void test_garbage_at_the_end_is_moved_aside(void **state)
{
    check_torn(*state, "\n\n\x01garbage\nmore garbage");
}

static void test_empty_last_segment_is_fine(void **state)
{
    make_log(*state, 3, LARGE);
    int fd = -1;
    assert_int_equal(chain_file_create(*state, 4, &fd, NULL), TG_OK);
    close(fd);
    struct log_writer *log = open_log(*state, LARGE);
    assert_int_equal(append_one(log, 3, NULL), 4);
    assert_intact(log, 4);
    log->ops->close(log);
}

static void test_segments_follow_each_other(void **state)
{
    make_log(*state, 3000, SMALL);
    struct log_writer *log = open_log(*state, SMALL);
    assert_int_equal(append_one(log, 0, NULL), 3001);
    assert_intact(log, 3001);
    assert_int_equal(count_lines(log, 0), 3001);
    for (uint64_t from = 1; from <= 3001; from += 97)
        assert_int_equal(count_lines(log, from), 3002 - from);
    assert_int_equal(count_lines(log, 3002), 0);
    log->ops->close(log);
}

static void test_verify_finds_a_change_in_an_old_segment(void **state)
{
    make_log(*state, 3000, SMALL);
    int fd = open_segment(*state, 1);
    overwrite(fd, line_offset(fd, 99) + 36, "EVENT");
    close(fd);
    struct log_writer *log = open_log(*state, SMALL);
    uint64_t entries = 0;
    struct tg_error err = {0};
    assert_int_equal(log->ops->verify(log, keep_going, NULL, &entries, &err), TG_DATA_LOSS);
    assert_int_equal(entries, 100);
    assert_non_null(strstr(err.text, "line 101 of segment 1 (sequence 101)"));
    log->ops->close(log);
}

static void test_segment_cut_while_running(void **state)
{
    make_log(*state, 3000, SMALL);
    struct log_writer *log = open_log(*state, SMALL);
    int fd = open_segment(*state, 1);
    assert_int_equal(ftruncate(fd, line_offset(fd, 50)), 0);
    close(fd);
    struct counted counted = {0};
    struct tg_error err = {0};
    uint64_t entries = 0;
    assert_int_equal(log->ops->read(log, 1, count_line, &counted, &err), TG_DATA_LOSS);
    assert_int_equal(log->ops->read(log, 60, count_line, &counted, &err), TG_DATA_LOSS);
    assert_int_equal(log->ops->verify(log, keep_going, NULL, &entries, &err), TG_DATA_LOSS);
    assert_int_equal(entries, 50);
    log->ops->close(log);
}

/* ---- a disk that fails ---- */

static struct {
    size_t room; /* bytes that can still be written */
    int error;   /* of pwrite when there is no room, of fdatasync when fail_sync */
    bool fail_sync;
    bool fail_truncate;
} disk;

static ssize_t bad_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (disk.room == 0) {
        errno = disk.error;
        return -1;
    }
    size_t part = len < disk.room ? len : disk.room;
    disk.room -= part;
    return pwrite(fd, bytes, part, offset);
}

static int bad_fdatasync(int fd)
{
    (void)fd;
    errno = disk.error;
    return disk.fail_sync ? -1 : 0;
}

static int bad_ftruncate(int fd, off_t len)
{
    errno = EIO;
    return disk.fail_truncate ? -1 : ftruncate(fd, len);
}

static const struct chain_io bad_io = {bad_pwrite, bad_fdatasync, bad_ftruncate};

static struct log_writer *open_bad(const char *directory)
{
    struct log_writer *log = NULL;
    struct chain_options options = {.directory = directory, .segment_size = LARGE, .io = &bad_io};
    disk.room = SIZE_MAX;
    disk.fail_sync = disk.fail_truncate = false;
    assert_int_equal(chain_log_open(&log, &options, NULL), TG_OK);
    return log;
}

/* After the failure nothing of the batch may be left, and the next one takes its place. */
static void check_recovers(struct log_writer *log, const char *directory)
{
    disk.room = SIZE_MAX;
    disk.fail_sync = disk.fail_truncate = false;
    assert_int_equal(count_lines(log, 1), 1);
    assert_int_equal(append_one(log, 7, NULL), 2);
    assert_intact(log, 2);
    log->ops->close(log);
    log = open_log(directory, LARGE);
    assert_intact(log, 2);
    log->ops->close(log);
    assert_int_equal(torn_files(directory), 0);
}

static void test_full_disk(void **state)
{
    struct tg_error err = {0};
    struct log_writer *log = open_bad(*state);
    assert_int_equal(append_one(log, 0, &err), 1);
    disk.room = 40; /* in the middle of the line */
    disk.error = ENOSPC;
    assert_int_equal(append_one(log, 1, &err), 0);
    assert_int_equal(err.code, TG_RESOURCE_EXHAUSTED);
    check_recovers(log, *state);
}

static void test_failing_sync(void **state)
{
    struct tg_error err = {0};
    struct log_writer *log = open_bad(*state);
    assert_int_equal(append_one(log, 0, &err), 1);
    disk.fail_sync = true;
    disk.error = EIO;
    assert_int_equal(append_one(log, 1, &err), 0);
    assert_int_equal(err.code, TG_UNAVAILABLE);
    assert_int_equal(append_one(log, 1, &err), 0);
    check_recovers(log, *state);
}

static void test_failed_batch_that_cannot_be_truncated_at_once(void **state)
{
    struct tg_error err = {0};
    struct log_writer *log = open_bad(*state);
    assert_int_equal(append_one(log, 0, &err), 1);
    disk.fail_sync = disk.fail_truncate = true;
    disk.error = EIO;
    assert_int_equal(append_one(log, 1, &err), 0);
    disk.fail_sync = false;
    assert_int_equal(append_one(log, 1, &err), 0); /* not before the remains are gone */
    assert_int_equal(count_lines(log, 1), 1);      /* which nobody sees */
    check_recovers(log, *state);
}

/* The kernel itself says that there is no room. */
static void fill_to_the_limit(const char *directory)
{
    signal(SIGXFSZ, SIG_IGN);
    struct log_writer *log = open_log(directory, LARGE);
    struct rlimit limit = {4096, 4096};
    struct rlimit again = {RLIM_INFINITY, RLIM_INFINITY};
    struct tg_error err = {0};
    getrlimit(RLIMIT_FSIZE, &again);
    limit.rlim_max = again.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    uint64_t last = 0;
    for (uint64_t sequence = 1; sequence != 0; sequence = append_one(log, 1, &err))
        last = sequence;
    bool good = err.code == TG_RESOURCE_EXHAUSTED && last > 10 && last < 60;
    setrlimit(RLIMIT_FSIZE, &again);
    good = good && append_one(log, 2, &err) > 0 && log->ops->next(log) >= last;
    log->ops->close(log);
    if (!good)
        fprintf(stderr, "last %llu: %s\n", (unsigned long long)last, err.text);
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
    struct log_writer *log = open_log(*state, LARGE);
    assert_intact(log, log->ops->next(log) - 1);
    log->ops->close(log);
}

static void test_line_that_is_too_long(void **state)
{
    struct log_writer *log = open_log(*state, LARGE);
    struct tg_error err = {0};
    char *body = malloc(CHAIN_BODY_MAX + 1);
    assert_non_null(body);
    memset(body, '}', CHAIN_BODY_MAX + 1);
    struct log_entry entry = {body, CHAIN_BODY_MAX + 1};
    uint64_t first = 0;
    assert_int_equal(log->ops->append(log, &entry, 1, &first, &err), TG_INVALID_ARGUMENT);
    entry.len = CHAIN_BODY_MAX;
    assert_int_equal(log->ops->append(log, &entry, 1, &first, &err), TG_OK);
    assert_int_equal(append_one(log, 1, &err), 2);
    assert_intact(log, 2);
    log->ops->close(log);
    log = open_log(*state, LARGE);
    assert_intact(log, 2);
    log->ops->close(log);
    free(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_directory_is_refused),
        TEST(test_second_process_is_refused),
        TEST(test_changed_line_is_refused),
        TEST(test_removed_line_is_refused),
        TEST(test_missing_segment_is_refused),
        TEST(test_cut_older_segment_is_refused),
        TEST(test_torn_line_is_moved_aside),
        TEST(test_line_with_wrong_hash_at_the_end_is_moved_aside),
        TEST(test_garbage_at_the_end_is_moved_aside),
        TEST(test_empty_last_segment_is_fine),
        TEST(test_segments_follow_each_other),
        TEST(test_verify_finds_a_change_in_an_old_segment),
        TEST(test_segment_cut_while_running),
        TEST(test_full_disk),
        TEST(test_failing_sync),
        TEST(test_failed_batch_that_cannot_be_truncated_at_once),
        TEST(test_file_size_limit),
        TEST(test_line_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
