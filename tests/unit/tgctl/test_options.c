/* What tgctl makes of its command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/trace.h"
#include "tools/tgctl/tgctl.h"

static struct tgctl_arguments arguments;
static struct tg_error err;

/* Reads a whole command line after "tgctl". */
static enum tg_code parse(const char *const *words)
{
    static char copies[16][64];
    char *argv[16];
    const struct tgctl_command *command;
    int count = 0;
    int used;

    for (; words[count] != NULL; count++) {
        snprintf(copies[count], sizeof(copies[count]), "%s", words[count]);
        argv[count] = copies[count];
    }
    argv[count] = NULL;
    command = tgctl_find(count, argv, &used);
    if (command == NULL)
        return TG_NOT_FOUND;
    return arguments_read(command, count - used + 1, argv + used - 1, &arguments, &err);
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void test_unknown_command(void **state)
{
    (void)state;
    assert_int_equal(PARSE("qkudd", "add"), TG_NOT_FOUND);
    assert_int_equal(PARSE("qkud"), TG_NOT_FOUND);
    assert_int_equal(PARSE("qkud", "ad", "x"), TG_NOT_FOUND);
}

static void test_missing_and_surplus_arguments(void **state)
{
    (void)state;
    assert_int_equal(PARSE("qkud", "add"), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "QKUD is missing"));
    assert_int_equal(PARSE("qkud", "add", "a", "b"), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "unexpected argument: b"));
    assert_int_equal(PARSE("health", "now"), TG_INVALID_ARGUMENT);
}

static void test_options_of_other_commands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("qkud", "list", "--out", "x"), TG_INVALID_ARGUMENT);
    assert_int_equal(PARSE("shield", "add", "s", "--owner"), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "needs a value"));
}

static void test_options_anywhere(void **state)
{
    (void)state;
    assert_int_equal(PARSE("shield", "add", "--owner", "alice", "s-1", "--json"), TG_OK);
    assert_string_equal(arguments.positional[0], "s-1");
    assert_string_equal(arguments_option(&arguments, "owner"), "alice");
    assert_null(arguments_option(&arguments, "policy"));
    assert_true(arguments.json);
    assert_int_equal(PARSE("shield", "add", "--help"), TG_OK); /* help asks for no argument */
    assert_true(arguments.help);
}

static void test_options_without_a_value(void **state)
{
    (void)state;
    assert_int_equal(PARSE("kek", "rotate", "--wait", "now"), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "unexpected argument: now"));
    assert_int_equal(PARSE("kek", "rotate", "--wait=1"), TG_INVALID_ARGUMENT);
    assert_int_equal(PARSE("kek", "rotate", "--wait"), TG_OK);
    assert_non_null(arguments_option(&arguments, "wait"));
    assert_int_equal(PARSE("kek", "rotate"), TG_OK);
    assert_null(arguments_option(&arguments, "wait"));
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"0", "-1", "+1", " 1", "1x", "", "4294967296", "99999999999999999999"};
    uint32_t number;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(PARSE("audit", "list", "--limit", bad[i]), TG_OK);
        assert_int_equal(arguments_number(&arguments, "limit", UINT32_MAX, &number, &err),
                         TG_INVALID_ARGUMENT);
    }
    assert_int_equal(PARSE("audit", "list", "--limit", "4294967295"), TG_OK);
    assert_int_equal(arguments_number(&arguments, "limit", UINT32_MAX, &number, &err), TG_OK);
    assert_int_equal(number, UINT32_MAX);
    assert_int_equal(PARSE("audit", "list"), TG_OK);
    assert_int_equal(arguments_number(&arguments, "limit", UINT32_MAX, &number, &err), TG_OK);
    assert_int_equal(number, 0);
}

static enum tg_code since(const char *text, uint64_t *us)
{
    assert_int_equal(PARSE("audit", "list", "--since", text), TG_OK);
    return arguments_time(&arguments, "since", us, &err);
}

static void test_times(void **state)
{
    static const char *const bad[] = {"",     "m",          "5",       "5x",  "5mm",
                                      "-5m",  "2026-13-01", "2026-11", "now", "2026-11-22T20:14:11",
                                      "+ 5m", "9999999999d"};
    uint64_t us;
    uint64_t now = clock_unix_us();

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(since(bad[i], &us), TG_INVALID_ARGUMENT);
    assert_int_equal(since("2026-11-22T20:14:11Z", &us), TG_OK);
    assert_int_equal(us, 1795378451000000);
    assert_int_equal(since("2026-11-22", &us), TG_OK);
    assert_int_equal(us, 1795305600000000);
    assert_int_equal(since("2h", &us), TG_OK);
    assert_true(us <= clock_unix_us() - 7200000000 && us >= now - 7201000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_command),
        cmocka_unit_test(test_missing_and_surplus_arguments),
        cmocka_unit_test(test_options_of_other_commands),
        cmocka_unit_test(test_options_anywhere),
        cmocka_unit_test(test_options_without_a_value),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
