#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"
#include "forked.h"

static char directory[64];
static char path_text[128];

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/tg-test-file-XXXXXX");
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return -1;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        (void)unlinkat(dirfd(dir), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    closedir(dir);
    return rmdir(directory);
}

static const char *in_directory(const char *name)
{
    (void)snprintf(path_text, sizeof path_text, "%s/%s", directory, name);
    return path_text;
}

static const char *make_file(const char *name, const void *bytes, size_t len, mode_t mode)
{
    const char *path = in_directory(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static size_t count_files(void)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void assert_holds(const char *path, const char *text)
{
    char *bytes = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 4096, &bytes, &len, NULL), TG_OK);
    assert_int_equal(len, strlen(text));
    assert_string_equal(bytes, text);
    free(bytes);
}

static void assert_refused(const char *path, size_t len, enum tg_code code, const char *hint)
{
    struct tg_error err;
    struct secret *s = NULL;
    assert_int_equal(file_read_secret(path, len, &s, &err), code);
    assert_null(s);
    assert_int_equal(err.code, code);
    assert_memory_equal(err.text, path, strlen(path));
    assert_non_null(strstr(err.text, hint));
}

static void secrets_that_others_can_reach_are_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0666, 0440};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const char *path = make_file("key", "0123456789abcdef", 16, modes[i]);
        assert_refused(path, 16, TG_PERMISSION_DENIED, "chmod 0400");
        assert_refused(path, 0, TG_PERMISSION_DENIED, "chmod 0400");
        struct secret *s = NULL;
        assert_int_equal(file_read_line_secret(path, &s, NULL), TG_PERMISSION_DENIED);
        assert_null(s);
    }
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    assert_refused(directory, 0, TG_INVALID_ARGUMENT, "not a regular file");
    const char *fifo = in_directory("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(fifo, 0, TG_INVALID_ARGUMENT, "not a regular file");
    assert_refused("/dev/zero", 32, TG_INVALID_ARGUMENT, "not a regular file");
    assert_refused(in_directory("none"), 0, TG_NOT_FOUND, "No such file");
    assert_refused(in_directory("none/key"), 0, TG_NOT_FOUND, "No such file");
    assert_int_equal(symlink(in_directory("loop"), path_text), 0);
    assert_refused(in_directory("loop"), 0, TG_INVALID_ARGUMENT, "symbolic links");
}

static void a_link_is_judged_by_what_it_points_to(void **state)
{
    (void)state;
    char target[128];
    (void)snprintf(target, sizeof target, "%s", make_file("key", "0123456789abcdef", 16, 0644));
    assert_int_equal(symlink(target, in_directory("link")), 0);
    assert_refused(in_directory("link"), 16, TG_PERMISSION_DENIED, "chmod 0400");
    assert_int_equal(chmod(target, 0400), 0);
    TG_CLEANUP(secret_cleanup) struct secret *s = NULL;
    assert_int_equal(file_read_secret(in_directory("link"), 16, &s, NULL), TG_OK);
}

/* As Kubernetes and systemd hand secrets to a process without root's rights. */
static int read_as_nobody(void *path)
{
    enum { NOBODY = 65534 };
    struct secret *s = NULL;
    if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return 99;
    enum tg_code code = file_read_secret(path, 16, &s, NULL);
    secret_free(s);
    return (int)code;
}

static void roots_secret_may_be_our_groups_too(void **state)
{
    (void)state;
    static const struct {
        uid_t owner;
        mode_t mode;
        enum tg_code code;
    } files[] = {{0, 0440, TG_OK},
                 {0, 0640, TG_OK},
                 {0, 0460, TG_PERMISSION_DENIED},
                 {0, 0444, TG_PERMISSION_DENIED},
                 {0, 0442, TG_PERMISSION_DENIED},
                 {65534, 0400, TG_OK},
                 {65534, 0440, TG_PERMISSION_DENIED}, /* our own: nothing keeps us from closing it */
                 {0, 0400, TG_PERMISSION_DENIED}};
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(directory, 0711), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = make_file("key", "0123456789abcdef", 16, 0600);
        assert_int_equal(chown(path, files[i].owner, 65534), 0);
        assert_int_equal(chmod(path, files[i].mode), 0);
        assert_int_equal(forked(read_as_nobody, path_text), files[i].code);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_secret_of_another_length_is_refused(void **state)
{
    (void)state;
    static const char big[4097];
    assert_refused(make_file("key", big, 31, 0400), 32, TG_INVALID_ARGUMENT, "needs exactly 32");
    assert_refused(make_file("key2", big, 33, 0400), 32, TG_INVALID_ARGUMENT, "needs exactly 32");
    assert_refused(make_file("key3", big, 0, 0400), 32, TG_INVALID_ARGUMENT, "needs exactly 32");
    assert_refused(make_file("key4", big, 0, 0400), 0, TG_INVALID_ARGUMENT, "needs 1 to 4096");
    assert_refused(make_file("key5", big, 4097, 0400), 0, TG_INVALID_ARGUMENT, "needs 1 to 4096");
}

static void a_good_secret_is_read_to_the_byte(void **state)
{
    (void)state;
    static const char bytes[32] = "\0\n\r binary";
    static const mode_t modes[] = {0400, 0600, 0700};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        for (size_t len = 0; len <= sizeof bytes; len += sizeof bytes) {
            TG_CLEANUP(secret_cleanup) struct secret *s = NULL;
            assert_int_equal(file_read_secret(make_file("key", bytes, 32, modes[i]), len, &s, NULL), TG_OK);
            assert_int_equal(secret_len(s), 32);
            assert_memory_equal(secret_view(s), bytes, 32);
            assert_int_equal(unlink(in_directory("key")), 0);
        }
    }
}

static void assert_line(const char *bytes, size_t len, enum tg_code code, const char *line)
{
    struct tg_error err;
    TG_CLEANUP(secret_cleanup) struct secret *s = NULL;
    assert_int_equal(file_read_line_secret(make_file("line", bytes, len, 0600), &s, &err), code);
    if (code != TG_OK) {
        assert_null(s);
        assert_memory_equal(err.text, in_directory("line"), strlen(directory));
        return;
    }
    assert_int_equal(secret_len(s), strlen(line));
    assert_memory_equal(secret_view(s), line, strlen(line));
}

static void a_line_that_is_no_password_is_refused(void **state)
{
    (void)state;
    assert_line("", 0, TG_INVALID_ARGUMENT, NULL);
    assert_line("\nsecond", 7, TG_INVALID_ARGUMENT, NULL);
    assert_line("\r\nsecond", 8, TG_INVALID_ARGUMENT, NULL);
    assert_line("pass\0word\n", 10, TG_INVALID_ARGUMENT, NULL);
    char big[1100];
    memset(big, 'x', sizeof big);
    assert_line(big, 1025, TG_INVALID_ARGUMENT, NULL);
    assert_line(big, 1100, TG_INVALID_ARGUMENT, NULL);
    big[1025] = '\n';
    assert_line(big, 1026, TG_INVALID_ARGUMENT, NULL);
    big[1024] = '\n';
    char expected[1025];
    memset(expected, 'x', 1024);
    expected[1024] = '\0';
    assert_line(big, 1025, TG_OK, expected);
    big[1024] = '\r';
    big[1025] = '\n';
    assert_line(big, 1026, TG_OK, expected);
}

static void a_line_loses_its_end_and_nothing_else(void **state)
{
    (void)state;
    assert_line("secret", 6, TG_OK, "secret");
    assert_line("secret\n", 7, TG_OK, "secret");
    assert_line("secret\r\n", 8, TG_OK, "secret");
    assert_line(" se cret\t\nsecond\n", 17, TG_OK, " se cret\t");
    assert_line("secret\r", 7, TG_OK, "secret\r"); /* no line end: the last byte may be meant */
    assert_line("a\rb\r\r\n", 6, TG_OK, "a\rb\r");
}

static void a_descriptor_keeps_its_second_line(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "PIN\nPASSWORD\n", 13), 13);
    close(ends[1]);
    TG_CLEANUP(secret_cleanup) struct secret *pin = NULL;
    TG_CLEANUP(secret_cleanup) struct secret *password = NULL;
    struct secret *none = NULL;
    struct tg_error err;
    assert_int_equal(fd_read_line_secret(ends[0], &pin, NULL), TG_OK);
    assert_int_equal(fd_read_line_secret(ends[0], &password, NULL), TG_OK);
    assert_int_equal(fd_read_line_secret(ends[0], &none, &err), TG_INVALID_ARGUMENT);
    assert_null(none);
    assert_memory_equal(secret_view(pin), "PIN", 3);
    assert_int_equal(secret_len(password), 8);
    close(ends[0]);
    assert_int_equal(fd_read_line_secret(-1, &none, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "descriptor -1"));
}

static void a_file_is_never_overwritten_as_new(void **state)
{
    (void)state;
    struct tg_error err;
    const char *path = make_file("there", "old", 3, 0600);
    assert_int_equal(file_write_new(path, "new", 3, &err), TG_ALREADY_EXISTS);
    assert_memory_equal(err.text, path, strlen(path));
    assert_holds(path, "old");
    assert_int_equal(symlink("/nonexistent/target", in_directory("dangling")), 0);
    assert_int_equal(file_write_new(in_directory("dangling"), "new", 3, &err), TG_ALREADY_EXISTS);
    assert_int_equal(file_write_new(directory, "new", 3, &err), TG_ALREADY_EXISTS);
    assert_int_equal(file_write_new(in_directory("none/file"), "new", 3, &err), TG_NOT_FOUND);
    assert_int_equal(count_files(), 2);
}

static void a_new_file_is_private_and_whole(void **state)
{
    (void)state;
    struct stat about;
    mode_t before = umask(0);
    const char *path = in_directory("new");
    assert_int_equal(file_write_new(path, "text", 4, NULL), TG_OK);
    assert_int_equal(file_replace(in_directory("replaced"), "text", 4, NULL), TG_OK);
    umask(before);
    assert_int_equal(stat(in_directory("new"), &about), 0);
    assert_int_equal(about.st_mode & 07777U, 0600);
    assert_holds(in_directory("new"), "text");
    assert_int_equal(stat(in_directory("replaced"), &about), 0);
    assert_int_equal(about.st_mode & 07777U, 0600);
    assert_holds(in_directory("replaced"), "text");
    assert_int_equal(count_files(), 2);
}

struct full_disk {
    enum tg_code (*write_file)(const char *path, const void *bytes, size_t len, struct tg_error *err);
    const char *path;
};

/* The kernel stops the write in the middle of the new content. */
static int write_too_much(void *arg)
{
    static const char big[65536];
    const struct full_disk *disk = arg;
    const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    struct tg_error err;
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    return disk->write_file(disk->path, big, sizeof big, &err) == TG_RESOURCE_EXHAUSTED ? 0 : 1;
}

static void a_failed_write_leaves_the_old_file_whole(void **state)
{
    (void)state;
    struct full_disk replace = {file_replace, make_file("state", "old state", 9, 0600)};
    assert_int_equal(forked(write_too_much, &replace), 0);
    assert_holds(in_directory("state"), "old state");
    assert_int_equal(count_files(), 1);
    struct full_disk fresh = {file_write_new, in_directory("fresh")};
    assert_int_equal(forked(write_too_much, &fresh), 0);
    assert_int_equal(count_files(), 1);
}

static void replacing_swaps_the_whole_file(void **state)
{
    (void)state;
    const char *path = make_file("state", "a much longer old state", 23, 0644);
    int old = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_replace(path, "new", 3, NULL), TG_OK);
    assert_holds(path, "new");
    char text[32] = "";
    assert_int_equal(read(old, text, sizeof text), 23); /* who has the old one open still sees all of it */
    close(old);
    assert_int_equal(file_replace(path, "", 0, NULL), TG_OK);
    assert_holds(path, "");
    assert_int_equal(count_files(), 1);
}

static void replacing_through_a_link_keeps_the_link(void **state)
{
    (void)state;
    char target[128];
    struct stat about;
    (void)snprintf(target, sizeof target, "%s", make_file("real", "old", 3, 0600));
    assert_int_equal(symlink("real", in_directory("link")), 0);
    assert_int_equal(file_replace(in_directory("link"), "new", 3, NULL), TG_OK);
    assert_holds(target, "new");
    assert_int_equal(lstat(in_directory("link"), &about), 0);
    assert_true(S_ISLNK(about.st_mode));
}

static void replacing_a_directory_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_directory("dir"), 0700), 0);
    assert_int_equal(file_replace(in_directory("dir"), "x", 1, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(file_replace(in_directory("none/x"), "x", 1, NULL), TG_NOT_FOUND);
    assert_int_equal(count_files(), 1);
}

static void a_whole_file_is_read_up_to_its_bound(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t len = 0;
    const char *path = make_file("text", "12345678", 8, 0644);
    assert_int_equal(file_read(path, 7, &bytes, &len, NULL), TG_INVALID_ARGUMENT);
    assert_null(bytes);
    assert_int_equal(file_read(path, 8, &bytes, &len, NULL), TG_OK);
    assert_int_equal(len, 8);
    assert_string_equal(bytes, "12345678");
    free(bytes);
}

static void a_file_in_the_working_directory_is_made_durable_too(void **state)
{
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(file_write_new("plain", "text", 4, NULL), TG_OK);
    assert_int_equal(file_replace("plain", "more", 4, NULL), TG_OK);
    assert_holds("plain", "more");
    assert_int_equal(chdir(before), 0);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(secrets_that_others_can_reach_are_refused),
        FILE_TEST(what_is_no_regular_file_is_refused),
        FILE_TEST(a_link_is_judged_by_what_it_points_to),
        FILE_TEST(roots_secret_may_be_our_groups_too),
        FILE_TEST(a_secret_of_another_length_is_refused),
        FILE_TEST(a_good_secret_is_read_to_the_byte),
        FILE_TEST(a_line_that_is_no_password_is_refused),
        FILE_TEST(a_line_loses_its_end_and_nothing_else),
        FILE_TEST(a_descriptor_keeps_its_second_line),
        FILE_TEST(a_file_is_never_overwritten_as_new),
        FILE_TEST(a_new_file_is_private_and_whole),
        FILE_TEST(a_failed_write_leaves_the_old_file_whole),
        FILE_TEST(replacing_swaps_the_whole_file),
        FILE_TEST(replacing_through_a_link_keeps_the_link),
        FILE_TEST(replacing_a_directory_is_refused),
        FILE_TEST(a_whole_file_is_read_up_to_its_bound),
        FILE_TEST(a_file_in_the_working_directory_is_made_durable_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
