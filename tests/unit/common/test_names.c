#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/names.h"

static void bad_ids_are_refused_and_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " ", "a b", "a/b", "../x", "a\n", "caf\xc3\xa9", "a;b", "'"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tg_error err = {0};
        assert_int_equal(name_check_id("shield id", bad[i], &err), TG_INVALID_ARGUMENT);
        assert_memory_equal(err.text, "shield id", 9);
    }
}

static void an_id_has_at_most_64_characters(void **state)
{
    (void)state;
    char id[NAME_ID_MAX + 2];
    memset(id, 'x', sizeof id);
    id[NAME_ID_MAX + 1] = '\0';
    assert_int_equal(name_check_id("id", id, NULL), TG_INVALID_ARGUMENT);
    id[NAME_ID_MAX] = '\0';
    assert_int_equal(name_check_id("id", id, NULL), TG_OK);
    assert_int_equal(name_check_id("id", "A-z_0.9", NULL), TG_OK);
}

static void a_text_is_bounded_and_without_controls(void **state)
{
    (void)state;
    char text[NAME_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    text[NAME_TEXT_MAX + 1] = '\0';
    assert_int_equal(name_check_text("owner", text, NULL), TG_INVALID_ARGUMENT);
    text[NAME_TEXT_MAX] = '\0';
    assert_int_equal(name_check_text("owner", text, NULL), TG_OK);
    assert_int_equal(name_check_text("owner", "a\tb", NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(name_check_text("owner", "a\x7f", NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(name_check_text("owner", "a\xff", NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(name_check_text("owner", "a\xe2\x80\xae", NULL),
                     TG_INVALID_ARGUMENT); /* turns the line */
    assert_int_equal(name_check_text("owner", "", NULL), TG_OK);
    assert_int_equal(name_check_text("owner", "M\xc3\xbcller, Anna", NULL), TG_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_ids_are_refused_and_named),
        cmocka_unit_test(an_id_has_at_most_64_characters),
        cmocka_unit_test(a_text_is_bounded_and_without_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
