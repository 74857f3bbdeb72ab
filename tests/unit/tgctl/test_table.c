/* How tgctl shows what services answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/tgctl/table.h"

static const struct table_column columns[] = {
    {"user", "USER"}, {"count", "COUNT"}, {"revoked", "REVOKED"}, {NULL, NULL}};

/* Prints two rows and returns the output for free(). */
static char *print(bool json, const char *user)
{
    char *text = NULL;
    size_t len;
    struct tgctl ctl = {.json = json, .out = open_memstream(&text, &len)};
    json_t *rows = json_array();
    json_t *row = json_object();

    row_text(row, "user", user);
    row_number(row, "count", 7);
    row_flag(row, "revoked", true);
    json_array_append_new(rows, row);
    row = json_object();
    row_text(row, "user", "");
    row_number(row, "count", 12345678);
    row_flag(row, "revoked", false);
    json_array_append_new(rows, row);
    assert_int_equal(table_print(&ctl, columns, rows), EXIT_DONE);
    json_decref(rows);
    fclose(ctl.out);
    return text;
}

static void test_terminal_is_not_steered(void **state)
{
    char *text = print(false, "a\033[2Jb\nc");

    (void)state;
    assert_null(strchr(text, '\033'));
    assert_null(strstr(text, "b\nc"));
    free(text);
}

static void test_text_that_is_not_utf8(void **state)
{
    char *text = print(true, "a\xff");

    (void)state;
    assert_non_null(strstr(text, "{\"user\":\"?\""));
    free(text);
}

static void test_columns_line_up(void **state)
{
    char *text = print(false, "zoë");

    (void)state;
    assert_string_equal(text, "USER  COUNT     REVOKED\n"
                              "zoë          7  yes\n"
                              "-     12345678  no\n");
    free(text);
}

static void test_json_lines(void **state)
{
    char *text = print(true, "zoë");

    (void)state;
    assert_string_equal(text, "{\"user\":\"zoë\",\"count\":7,\"revoked\":true}\n"
                              "{\"user\":null,\"count\":12345678,\"revoked\":false}\n");
    free(text);
}

static void test_times(void **state)
{
    char text[21];

    (void)state;
    table_time(1795378451, text);
    assert_string_equal(text, "2026-11-22T20:14:11Z");
}

static void test_output_gone(void **state)
{
    struct tgctl ctl = {.json = true, .out = fopen("/dev/full", "w")};
    json_t *row = json_object();

    (void)state;
    row_text(row, "user", "alice");
    assert_int_equal(table_print_one(&ctl, columns, row), EXIT_OUTPUT);
    fclose(ctl.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal_is_not_steered),
        cmocka_unit_test(test_text_that_is_not_utf8),
        cmocka_unit_test(test_columns_line_up),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_output_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
