#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/utf8.h"

#define REPLACED "\xef\xbf\xbd"

static void check_clean(const char *text, size_t len, const char *expected)
{
    char out[64];
    assert_int_equal(utf8_clean(out, sizeof out, text, len, false), len);
    assert_string_equal(out, expected);
}

static void test_broken_bytes_are_replaced(void **state)
{
    (void)state;
    check_clean("a\xff"
                "b",
                3, "a" REPLACED "b");
    check_clean("\xc0\xaf", 2, REPLACED REPLACED);              /* overlong */
    check_clean("\xed\xa0\x80", 3, REPLACED REPLACED REPLACED); /* surrogate */
    check_clean("\xe4\xb8", 2, REPLACED REPLACED);              /* cut off */
}

static void test_steering_is_replaced(void **state)
{
    (void)state;
    check_clean("a\033[2Jb", 6, "a" REPLACED "[2Jb");
    check_clean("a\0b", 3, "a" REPLACED "b");
    check_clean("\xc2\x9b"
                "31m",
                5, REPLACED "31m"); /* C1: CSI */
    check_clean("\xe2\x80\xae"
                "abc",
                6, REPLACED "abc"); /* right-to-left override */
    check_clean("a\nb", 3, "a" REPLACED "b");
}

static void test_lines_are_kept_on_request(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(utf8_clean(out, sizeof out, "a\nb\r", 4, true), 4);
    assert_string_equal(out, "a\nb" REPLACED);
}

static void test_cut_between_characters(void **state)
{
    (void)state;
    static const char text[] = "ab\xe7\x94\xa8";
    char out[6];
    assert_int_equal(utf8_clean(out, 5, text, 5, false), 2);
    assert_string_equal(out, "ab");
    assert_int_equal(utf8_clean(out, 6, text, 5, false), 5);
    assert_string_equal(out, text);
    assert_int_equal(utf8_clean(out, 1, text, 5, false), 0);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_bytes_are_replaced),
        cmocka_unit_test(test_steering_is_replaced),
        cmocka_unit_test(test_lines_are_kept_on_request),
        cmocka_unit_test(test_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
