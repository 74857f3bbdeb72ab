/* Exit codes: each reason has one number, one name and one meaning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/exit_code.h"

static void codes_and_names_are_unique(void **state)
{
    (void)state;
    for (const struct exit_row *a = exit_table; a->name != NULL; a++) {
        for (const struct exit_row *b = a + 1; b->name != NULL; b++) {
            assert_int_not_equal(a->code, b->code);
            assert_string_not_equal(a->name, b->name);
        }
        assert_true((int)a->code >= 0 && a->code < 126); /* above, shells have their own */
        assert_string_equal(exit_name(a->code), a->name);
    }
    assert_string_equal(exit_name((enum client_exit)99), "unknown");
}

/* No code that a gateway can send makes a refusal look like success. */
static void no_refusal_is_success(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 40; code++) {
        assert_int_not_equal(exit_for_refusal(code), EXIT_OK);
        assert_string_not_equal(exit_name(exit_for_refusal(code)), "unknown");
        assert_string_not_equal(exit_name(exit_for_bye(code)), "unknown");
        if (code != TG_OK)
            assert_int_not_equal(exit_for_bye(code), EXIT_OK);
    }
}

static void failures_of_shields_and_files_are_told_apart(void **state)
{
    (void)state;
    for (unsigned code = 1; code < TG_CODE_COUNT; code++) {
        assert_int_not_equal(exit_for_shield((enum tg_code)code), EXIT_OK);
        assert_int_not_equal(exit_for_file((enum tg_code)code), EXIT_OK);
    }
    assert_int_equal(exit_for_shield(TG_UNAUTHENTICATED), EXIT_WRONG_PIN);
    assert_int_equal(exit_for_shield(TG_NOT_FOUND), EXIT_NO_INPUT);
    assert_int_equal(exit_for_shield(TG_FAILED_PRECONDITION), EXIT_SHIELD_EMPTY);
    assert_int_equal(exit_for_shield(TG_UNAVAILABLE), EXIT_TRY_LATER);
    assert_int_equal(exit_for_shield(TG_DATA_LOSS), EXIT_BAD_INPUT);
    assert_int_equal(exit_for_shield(TG_PERMISSION_DENIED), EXIT_CONFIG);
    assert_int_equal(exit_for_shield(TG_OUT_OF_RANGE), EXIT_PIN_LOCKED);
    assert_int_equal(exit_for_shield(TG_UNIMPLEMENTED), EXIT_CONFIG);
    assert_int_equal(exit_for_shield(TG_ABORTED), EXIT_TRY_LATER);
    assert_int_equal(exit_for_file(TG_NOT_FOUND), EXIT_NO_INPUT);
    assert_int_equal(exit_for_file(TG_PERMISSION_DENIED), EXIT_CONFIG);
    assert_int_equal(exit_for_file(TG_INVALID_ARGUMENT), EXIT_BAD_INPUT);
}

static void refusals_say_whether_to_try_again(void **state)
{
    (void)state;
    assert_int_equal(exit_for_refusal(TG_UNAUTHENTICATED), EXIT_REFUSED);
    assert_int_equal(exit_for_refusal(TG_PERMISSION_DENIED), EXIT_REFUSED);
    assert_int_equal(exit_for_refusal(TG_FAILED_PRECONDITION), EXIT_REFUSED);
    assert_int_equal(exit_for_refusal(TG_UNAVAILABLE), EXIT_TRY_LATER);
    assert_int_equal(exit_for_refusal(TG_RESOURCE_EXHAUSTED), EXIT_TRY_LATER);
    assert_int_equal(exit_for_refusal(TG_DEADLINE_EXCEEDED), EXIT_TRY_LATER);
    assert_int_equal(exit_for_refusal(TG_INVALID_ARGUMENT), EXIT_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_names_are_unique),
        cmocka_unit_test(no_refusal_is_success),
        cmocka_unit_test(failures_of_shields_and_files_are_told_apart),
        cmocka_unit_test(refusals_say_whether_to_try_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
