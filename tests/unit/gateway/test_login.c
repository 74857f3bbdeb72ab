/* The whole login in both suites, and what a login may be refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/gateway/fixture.h"

static void login_in_suite(struct fixture *f, uint32_t suite)
{
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, &(struct scripted_faults){.suite = suite});
    assert_int_equal(scripted_gateway(s)->suite, suite);
    assert_string_equal(scripted_gateway(s)->qkud_id, "qkud-1");
    assert_string_equal(scripted_terms(s)->policy, "all");
    assert_int_equal(scripted_terms(s)->n_targets, 1);
    assert_string_equal(f->seen_user, "alice");
    assert_string_equal(f->seen_station, "127.0.0.1");
    scripted_close(s);
}

static void both_suites(void **state)
{
    struct fixture *f = *state;
    login_in_suite(f, SUITE_AES256_GCM_SHA256);
    login_in_suite(f, SUITE_SM4_CTR_HMAC_SM3);
    struct fixture_event event = fixture_event(f, "login.accepted", 2);
    assert_true(event.success);
    assert_string_equal(event.user, "alice");
    assert_int_equal(event.ticket_len, TICKET_LEN);
    fixture_event(f, "session.ended", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_suites, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
