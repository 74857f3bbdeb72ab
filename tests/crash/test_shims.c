/* The shims bite: what was not synced is gone after a power cut, and what was is there; calls fail as often
 * as asked. Were it not so, the crash rounds could not fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/crash/fault.h"
#include "tests/crash/power.h"

enum { WORDS = 24 };

static struct fixture {
    char dir[64], data[96], store[96], a[128], b[128], control_path[96];
    struct fault_control *control;
} f;

static void path_in(char *out, size_t size, const char *base, const char *name)
{
    int len = snprintf(out, size, "%s/%s", base, name);
    assert_true(len > 0 && (size_t)len < size);
}

static void make_control(void)
{
    struct fault_control none = {0};
    path_in(f.control_path, sizeof f.control_path, f.dir, "control");
    int fd = open(f.control_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, &none, sizeof none) == (ssize_t)sizeof none);
    f.control = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(f.control, MAP_FAILED);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    snprintf(f.dir, sizeof f.dir, "/tmp/tg-shim-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    path_in(f.data, sizeof f.data, f.dir, "data");
    path_in(f.store, sizeof f.store, f.dir, "store");
    path_in(f.a, sizeof f.a, f.data, "a");
    path_in(f.b, sizeof f.b, f.data, "b");
    assert_int_equal(mkdir(f.data, 0700), 0);
    assert_int_equal(mkdir(f.store, 0700), 0);
    make_control();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    munmap(f.control, sizeof *f.control);
    unlink(f.a);
    unlink(f.b);
    unlink(f.control_path);
    assert_true(power_forget(f.store));
    assert_int_equal(rmdir(f.data), 0);
    assert_int_equal(rmdir(f.store), 0);
    assert_int_equal(rmdir(f.dir), 0);
    return 0;
}

/* Runs the writer under a shim; its exit code. */
static int run(const char *shim, const char *const *words)
{
    char preload[256], dirs[128], store[128], control[128], writer[256];
    const char *argv[WORDS] = {"/usr/bin/env", preload, dirs, store, control, writer};
    snprintf(writer, sizeof writer, "%s/tg-shim-writer", TG_BIN_DIR);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/shim_%s.so", TG_BIN_DIR, shim);
    snprintf(dirs, sizeof dirs, "TG_SHIM_DIRS=/nowhere:%s", f.data);
    snprintf(store, sizeof store, "TG_POWER_DIR=%s", f.store);
    snprintf(control, sizeof control, "TG_FAULT_CONTROL=%s", f.control_path);
    for (size_t i = 0; words[i] != NULL; i++)
        argv[6 + i] = words[i];
    pid_t pid = fork();
    if (pid == 0) {
        union {
            const char **in;
            char **out;
        } cast = {.in = argv};
        execv(argv[0], cast.out);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define POWER(...) assert_int_equal(run("power", (const char *const[]){__VA_ARGS__, NULL}), 0)

/* The file as text; "-" when it is not there. */
static const char *text_of(const char *path)
{
    static char text[64];
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return "-";
    size_t len = fread(text, 1, sizeof text - 1, in);
    text[len] = '\0';
    fclose(in);
    return text;
}

static void cut_power(void)
{
    assert_true(power_cut(f.store, false, 1));
}

/* Leaves `a` with "1111", durable. */
static void durable_a(void)
{
    POWER("create", f.a, "write", f.a, "0", "1", "4", "sync", f.a, "syncdir", f.data);
}

static void writes_without_sync_are_lost(void **state)
{
    (void)state;
    durable_a();
    POWER("write", f.a, "2", "2", "4");
    assert_string_equal(text_of(f.a), "112222");
    cut_power();
    assert_string_equal(text_of(f.a), "1111");
}

static void writes_with_sync_stay(void **state)
{
    (void)state;
    durable_a();
    POWER("write", f.a, "2", "2", "4", "sync", f.a, "write", f.a, "0", "3", "8");
    assert_string_equal(text_of(f.a), "33333333");
    cut_power();
    assert_string_equal(text_of(f.a), "112222");
}

static void several_processes_in_a_row_add_up(void **state)
{
    (void)state;
    durable_a();
    POWER("write", f.a, "0", "2", "2");
    POWER("write", f.a, "1", "3", "2");
    assert_string_equal(text_of(f.a), "2331");
    cut_power();
    assert_string_equal(text_of(f.a), "1111");
}

static void truncation_without_sync_is_undone(void **state)
{
    (void)state;
    durable_a();
    POWER("truncate", f.a, "1", "write", f.a, "1", "2", "1");
    cut_power();
    assert_string_equal(text_of(f.a), "1111");
}

static void a_new_file_needs_its_directory_synced(void **state)
{
    (void)state;
    POWER("create", f.a, "write", f.a, "0", "1", "4", "sync", f.a);
    cut_power();
    assert_string_equal(text_of(f.a), "-");
    POWER("create", f.a, "write", f.a, "0", "1", "4", "syncdir", f.data);
    cut_power();
    assert_string_equal(text_of(f.a), ""); /* the name, and nothing in it */
}

static void a_rename_needs_its_directory_synced(void **state)
{
    (void)state;
    durable_a();
    POWER("create", f.b, "write", f.b, "0", "2", "4", "sync", f.b, "syncdir", f.data, "rename", f.b, f.a);
    assert_string_equal(text_of(f.a), "2222");
    cut_power();
    assert_string_equal(text_of(f.a), "1111");
    assert_string_equal(text_of(f.b), "2222");
    POWER("rename", f.b, f.a, "syncdir", f.data);
    cut_power();
    assert_string_equal(text_of(f.a), "2222");
    assert_string_equal(text_of(f.b), "-");
}

static void a_rename_without_sync_of_the_file_leaves_it_empty(void **state)
{
    (void)state;
    durable_a();
    POWER("create", f.b, "write", f.b, "0", "2", "4", "rename", f.b, f.a, "syncdir", f.data);
    cut_power();
    assert_string_equal(text_of(f.a), "");
}

static void a_removed_file_comes_back(void **state)
{
    (void)state;
    durable_a();
    POWER("remove", f.a);
    assert_string_equal(text_of(f.a), "-");
    cut_power();
    assert_string_equal(text_of(f.a), "1111");
}

/* With `some`, each page is either old or new, and synced ones are never old. */
static void a_torn_write_tears(void **state)
{
    static char page[3 * 4096];
    bool torn = false;
    (void)state;
    for (uint64_t seed = 0; seed < 32; seed++) {
        POWER("create", f.a, "write", f.a, "0", "1", "8192", "sync", f.a, "syncdir", f.data, "write", f.a,
              "4096", "2", "8192");
        assert_true(power_cut(f.store, true, seed));
        int fd = open(f.a, O_RDONLY | O_CLOEXEC);
        ssize_t len = read(fd, page, sizeof page);
        close(fd);
        assert_true(len >= 8192 && page[0] == '1' && page[4095] == '1');
        assert_true(page[4096] == page[8191]);
        torn = torn || (len == 12288 && page[4096] == '1' && page[12287] == '2');
        unlink(f.a);
    }
    assert_true(torn);
}

static int try_to_write(void)
{
    return run("fault", (const char *const[]){"create", f.a, "try", f.a, "99", NULL});
}

static void nothing_fails_unasked(void **state)
{
    (void)state;
    assert_int_equal(try_to_write(), 0);
    assert_int_equal(f.control->injected, 0);
}

static void calls_fail_as_often_as_asked(void **state)
{
    (void)state;
    f.control->calls = FAULT_ALL;
    f.control->per_million = 1000000;
    assert_int_equal(try_to_write(), 99);
    unlink(f.a);
    f.control->per_million = 200000;
    int failed = try_to_write();
    assert_true(failed > 5 && failed < 95);
    unlink(f.a);
    f.control->calls = FAULT_NAME; /* and only those that are asked for */
    f.control->per_million = 1000000;
    assert_int_equal(try_to_write(), 0);
    assert_int_equal(run("fault", (const char *const[]){"rename", f.a, f.b, NULL}), 100);
    assert_string_equal(text_of(f.b), "-");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(writes_without_sync_are_lost),
        CASE(writes_with_sync_stay),
        CASE(several_processes_in_a_row_add_up),
        CASE(truncation_without_sync_is_undone),
        CASE(a_new_file_needs_its_directory_synced),
        CASE(a_rename_needs_its_directory_synced),
        CASE(a_rename_without_sync_of_the_file_leaves_it_empty),
        CASE(a_removed_file_comes_back),
        CASE(a_torn_write_tears),
        CASE(nothing_fails_unasked),
        CASE(calls_fail_as_often_as_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
