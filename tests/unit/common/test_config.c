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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/config.h"
#include "forked.h"

struct target {
    char *address;
    int64_t port;
    struct config_list tags;
};

struct sample {
    char *name;
    char *note;
    char *file;
    char *other;
    int64_t number;
    bool flag;
    int64_t time;
    int64_t size;
    int choice;
    struct config_list words;
    struct config_list targets;
    int64_t inner;
    char *inner_file;
};

static const char *const choices[] = {"first", "second", "third", NULL};

static const struct config_row target_rows[] = {
    {.key = "address",
     .type = CONFIG_STRING,
     .offset = offsetof(struct target, address),
     .help = "Where it is."},
    {.key = "net.port",
     .type = CONFIG_INT,
     .offset = offsetof(struct target, port),
     .fallback = "443",
     .min = 1,
     .max = 65535,
     .help = "Which port."},
    {.key = "tags",
     .type = CONFIG_STRINGS,
     .offset = offsetof(struct target, tags),
     .fallback = "[x, 'y z']",
     .help = "Words for it."},
    {0},
};

static const struct config_row rows[] = {
    {.key = "name", .type = CONFIG_STRING, .offset = offsetof(struct sample, name), .help = "Names it."},
    {.key = "note",
     .type = CONFIG_STRING,
     .offset = offsetof(struct sample, note),
     .fallback = CONFIG_OPTIONAL,
     .min = 2,
     .max = 80,
     .help = "Says more."},
    {.key = "file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct sample, file),
     .fallback = "data/state.db",
     .help = "Where state is kept."},
    {.key = "other",
     .type = CONFIG_PATH,
     .offset = offsetof(struct sample, other),
     .fallback = CONFIG_OPTIONAL,
     .help = "Another file."},
    {.key = "number",
     .type = CONFIG_INT,
     .offset = offsetof(struct sample, number),
     .fallback = "-5",
     .min = INT64_MIN,
     .max = INT64_MAX,
     .help = "A number."},
    {.key = "flag",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct sample, flag),
     .fallback = "true",
     .help = "A flag."},
    {.key = "time",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct sample, time),
     .fallback = "10m",
     .min = 1,
     .max = 86400000,
     .help = "A time."},
    {.key = "size",
     .type = CONFIG_SIZE,
     .offset = offsetof(struct sample, size),
     .fallback = "64KiB",
     .min = 1024,
     .max = INT64_MAX,
     .help = "A size."},
    {.key = "choice",
     .type = CONFIG_CHOICE,
     .offset = offsetof(struct sample, choice),
     .fallback = "second",
     .choices = choices,
     .help = "A choice."},
    {.key = "words",
     .type = CONFIG_STRINGS,
     .offset = offsetof(struct sample, words),
     .fallback = CONFIG_OPTIONAL,
     .min = 1,
     .max = 3,
     .help = "Some words."},
    {.key = "targets",
     .type = CONFIG_TABLES,
     .offset = offsetof(struct sample, targets),
     .fallback = CONFIG_OPTIONAL,
     .item_rows = target_rows,
     .item_size = sizeof(struct target),
     .help = "What can be reached."},
    {.key = "deep.inner.number",
     .type = CONFIG_INT,
     .offset = offsetof(struct sample, inner),
     .fallback = "7",
     .help = "Deep down."},
    {.key = "deep.file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct sample, inner_file),
     .fallback = CONFIG_OPTIONAL,
     .help = "A file deep down."},
    {0},
};

static char directory[64];
static char path[128];

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/tg-test-config-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/t.yaml", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static void write_file(const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void assert_unreadable(const char *file, enum tg_code code, const char *reason)
{
    static const struct sample nothing;
    struct sample out = {0};
    struct tg_error err;
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s:1:1: %s", file, reason);
    assert_int_equal(config_read(file, rows, &out, &err), code);
    assert_int_equal(err.code, code);
    assert_string_equal(err.text, expected);
    assert_memory_equal(&out, &nothing, sizeof out);
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    assert_unreadable(path, TG_NOT_FOUND, "cannot be opened: No such file or directory");
    assert_unreadable(directory, TG_INVALID_ARGUMENT, "is not a regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_unreadable(path, TG_INVALID_ARGUMENT, "is not a regular file");
    assert_int_equal(unlink(path), 0);

    size_t two_mebibytes = (size_t)2 * 1024 * 1024;
    char *big = calloc(1, two_mebibytes);
    assert_non_null(big);
    write_file(big, two_mebibytes);
    free(big);
    assert_unreadable(path, TG_INVALID_ARGUMENT, "has 2097152 bytes, at most 1048576 are read");
    write_file("", 0);
    assert_unreadable(path, TG_INVALID_ARGUMENT,
                      "is empty; write `key: value` lines, --config-help lists the keys");
}

/* Root reads everything, so the test goes on as somebody else. */
static int read_as_nobody(void *unused)
{
    (void)unused;
    struct sample out = {0};
    struct tg_error err;
    if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0))
        return 2;
    enum tg_code code = config_read(path, rows, &out, &err);
    bool said = strstr(err.text, ":1:1: cannot be opened: Permission denied") != NULL;
    return code == TG_PERMISSION_DENIED && said ? 0 : 1;
}

static void a_file_without_permission(void **state)
{
    (void)state;
    write_file("name: a\n", 8);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_int_equal(forked(read_as_nobody, NULL), 0);
}

static void errors_name_the_file(void **state)
{
    (void)state;
    write_file("name: a\nflag: maybe\n", 20);
    struct sample out = {0};
    struct tg_error err;
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s:2:7: flag: \"maybe\" is neither; give true or false", path);
    assert_int_equal(config_read(path, rows, &out, &err), TG_INVALID_ARGUMENT);
    assert_string_equal(err.text, expected);
}

/* The key is given, so that only the check of all defaults can find what is wrong with the row. */
static int parse_with(void *row)
{
    const struct config_row table[2] = {*(const struct config_row *)row, {0}};
    struct config_list out = {0};
    return (int)config_parse("t", "n: 5\n", 5, table, &out, NULL);
}

static void broken_tables_stop_the_process(void **state)
{
    (void)state;
    static const struct config_row good = {
        .key = "n", .type = CONFIG_INT, .fallback = "5", .min = 1, .max = 9};
    struct config_row broken[5];
    for (size_t i = 0; i < 5; i++)
        broken[i] = good;
    broken[0].fallback = "10"; /* out of its bounds */
    broken[1].fallback = "five";
    broken[2].min = 10; /* above max */
    broken[3].fallback = "";
    broken[4].type = CONFIG_STRINGS; /* and "5" is no list */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(forked(parse_with, &broken[i]), -SIGABRT);
    broken[0] = good;
    assert_int_equal(forked(parse_with, &broken[0]), 0);
}

static struct sample parse(const char *name, const char *text)
{
    struct sample out = {0};
    struct tg_error err = {0};
    enum tg_code code = config_parse(name, text, strlen(text), rows, &out, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(code, TG_OK);
    return out;
}

static void defaults_stand_in(void **state)
{
    (void)state;
    struct sample out = parse("/etc/tg/t.yaml", "name: gate\n");
    assert_string_equal(out.name, "gate");
    assert_null(out.note);
    assert_string_equal(out.file, "/etc/tg/data/state.db");
    assert_null(out.other);
    assert_int_equal(out.number, -5);
    assert_true(out.flag);
    assert_int_equal(out.time, 600000);
    assert_int_equal(out.size, 65536);
    assert_int_equal(out.choice, 1);
    assert_int_equal(out.words.count, 0);
    assert_int_equal(out.targets.count, 0);
    assert_int_equal(out.inner, 7);
    config_free(rows, &out);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct sample out = parse("conf/t.yaml", "name: \"gate: 'x' \\u91cf\"\n"
                                             "note: true\n" /* a text all the same */
                                             "file: /abs/state.db\n"
                                             "other: ../up.db\n"
                                             "number: -9223372036854775808\n"
                                             "flag: false\n"
                                             "time: 250ms\n"
                                             "size: 2GiB\n"
                                             "choice: third\n"
                                             "words: [5, \"two words\", ~x]\n"
                                             "targets:\n"
                                             "  - address: one\n"
                                             "  - address: two\n"
                                             "    net: {port: 8443}\n"
                                             "    tags: []\n"
                                             "deep:\n"
                                             "  inner: {number: 9}\n"
                                             "  file: in.db\n");
    assert_string_equal(out.name, "gate: 'x' \u91cf");
    assert_string_equal(out.note, "true");
    assert_string_equal(out.file, "/abs/state.db");
    assert_string_equal(out.other, "conf/../up.db");
    assert_true(out.number == INT64_MIN);
    assert_false(out.flag);
    assert_int_equal(out.time, 250);
    assert_true(out.size == INT64_C(2147483648));
    assert_int_equal(out.choice, 2);
    assert_int_equal(out.words.count, 3);
    char **words = out.words.items;
    assert_string_equal(words[0], "5");
    assert_string_equal(words[1], "two words");
    assert_string_equal(words[2], "~x");
    assert_int_equal(out.targets.count, 2);
    const struct target *targets = out.targets.items;
    assert_string_equal(targets[0].address, "one");
    assert_int_equal(targets[0].port, 443);
    assert_int_equal(targets[0].tags.count, 2);
    assert_string_equal(((char **)targets[0].tags.items)[1], "y z");
    assert_string_equal(targets[1].address, "two");
    assert_int_equal(targets[1].port, 8443);
    assert_int_equal(targets[1].tags.count, 0);
    assert_int_equal(out.inner, 9);
    assert_string_equal(out.inner_file, "conf/in.db");
    config_free(rows, &out);

    static const struct sample nothing;
    assert_memory_equal(&out, &nothing, sizeof out);
    config_free(rows, &out);
}

static void units_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time, size;
    } cases[] = {
        {"name: a\ntime: 1ms\nsize: 1024\n", 1, 1024},
        {"name: a\ntime: 90s\nsize: 3KiB\n", 90000, 3072},
        {"name: a\ntime: 2m\nsize: 5MiB\n", 120000, 5242880},
        {"name: a\ntime: 8h\nsize: 1TiB\n", 28800000, INT64_C(1099511627776)},
        {"name: a\ntime: 1d\nsize: 9223372036854775807\n", 86400000, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample out = parse("t", cases[i].text);
        assert_true(out.time == cases[i].time && out.size == cases[i].size);
        assert_string_equal(out.file,
                            "data/state.db"); /* a name without directory leaves paths as they are */
        config_free(rows, &out);
    }
}

static void a_good_file_is_read(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf# with a byte order mark\nname: \"\"\nnote: ''\nother: x\n";
    write_file(text, sizeof text - 1);
    struct sample out = {0};
    struct tg_error err = {0};
    char expected[128];
    assert_int_equal(config_read(path, rows, &out, &err), TG_OK);
    assert_string_equal(out.name, "");
    assert_null(out.note); /* an optional text that is empty is absent */
    (void)snprintf(expected, sizeof expected, "%s/x", directory);
    assert_string_equal(out.other, expected);
    config_free(rows, &out);
}

static void help_tells_every_row(void **state)
{
    (void)state;
    char text[8192] = "";
    (void)fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    config_help(rows);
    (void)fflush(stdout);
    assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    close(saved);
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    close(fd);
    static const char *const expected[] = {
        "\nname: text; required\n    Names it.\n",
        "\nnote: text, 2 to 80 characters; optional\n",
        "\ntime: time such as 250ms, 5s or 8h, 1ms to 1d; default 10m\n",
        "\nsize: size such as 4096, 64KiB or 1MiB, at least 1KiB; default 64KiB\n",
        "\nchoice: one of first, second, third; default second\n",
        "\nwords: list of texts, 1 to 3 entries; optional\n",
        "\ntargets[].net.port: number, 1 to 65535; default 443\n    Which port.\n",
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_non_null(strstr(text, expected[i]));
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(files_that_cannot_be_read), FILE_TEST(a_file_without_permission),
        FILE_TEST(errors_name_the_file),      cmocka_unit_test(broken_tables_stop_the_process),
        cmocka_unit_test(defaults_stand_in),  cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(units_are_exact),    FILE_TEST(a_good_file_is_read),
        FILE_TEST(help_tells_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
