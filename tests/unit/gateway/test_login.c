/* The whole login in both suites, and what a login may be refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "tests/unit/gateway/fixture.h"

static void expect_refused(struct fixture *f, struct scripted *s, enum tg_code code, const char *event)
{
    assert_int_equal(scripted_expect_refused(s), code);
    struct fixture_event seen = fixture_event(f, event, 1);
    assert_false(seen.success);
    assert_true(strlen(seen.reason) > 0);
    assert_int_equal(fixture_event_count(f, event), 1);
    assert_int_equal(fixture_event_count(f, "login.accepted"), 0);
    scripted_close(s);
}

/* ---- before the channel ---- */

static void unknown_version_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_connect(f, NULL);
    scripted_faults(s)->version = 2;
    assert_true(scripted_tls(s) && scripted_hello(s));
    expect_refused(f, s, TG_UNIMPLEMENTED, "handshake.refused");
}

static void unknown_suite_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_connect(f, NULL);
    scripted_faults(s)->suite = 77;
    assert_true(scripted_tls(s) && scripted_hello(s));
    expect_refused(f, s, TG_UNIMPLEMENTED, "handshake.refused");
}

static void altered_encrypted_random_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s =
        fixture_client(f, SCRIPTED_AUTHENTICATE, &(struct scripted_faults){.other_digest_bit = true});
    expect_refused(f, s, TG_UNAUTHENTICATED, "handshake.refused");
}

static void spent_ticket_is_refused(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = fixture_key(f, NULL, NULL);
    struct scripted *s = fixture_connect(f, NULL);
    f->tickets[0].spent = true;
    assert_true(scripted_until(s, SCRIPTED_AUTHENTICATE, key, NULL, NULL));
    shield_key_free(key);
    expect_refused(f, s, TG_UNAUTHENTICATED, "handshake.refused");
}

/* To a stranger, a ticket that was never issued looks like one that is spent or a random that is altered. */
static void unknown_ticket_is_refused(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = fixture_key(f, NULL, NULL);
    struct scripted *s = fixture_connect(f, NULL);
    f->tickets[0].bytes[3] ^= 1;
    assert_true(scripted_until(s, SCRIPTED_AUTHENTICATE, key, NULL, NULL));
    shield_key_free(key);
    expect_refused(f, s, TG_UNAUTHENTICATED, "handshake.refused");
}

static void ticket_info_for_another_request_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_set_mode(f, &f->resolver_mode, PEER_SEALS_WRONG);
    struct scripted *s = fixture_client(f, SCRIPTED_AUTHENTICATE, NULL);
    expect_refused(f, s, TG_UNAUTHENTICATED, "handshake.refused");
}

static void pipelined_frame_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s =
        fixture_client(f, SCRIPTED_AUTHENTICATE, &(struct scripted_faults){.pipeline = true});
    expect_refused(f, s, TG_INVALID_ARGUMENT, "handshake.refused");
}

static void channel_with_another_key_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s =
        fixture_client(f, SCRIPTED_AUTHENTICATED, &(struct scripted_faults){.other_psk = true});
    assert_false(scripted_channel(s));
    assert_true(scripted_expect_close(s));
    fixture_event(f, "handshake.refused", 1);
    scripted_close(s);
}

/* ---- login info ---- */

static void other_client_random_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, &(struct scripted_faults){.other_random = true});
    expect_refused(f, s, TG_UNAUTHENTICATED, "login.refused");
    assert_string_equal(f->seen_user, ""); /* RADIUS was not even asked */
}

static void altered_login_info_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s =
        fixture_client(f, SCRIPTED_LOGIN, &(struct scripted_faults){.other_login_bit = true});
    expect_refused(f, s, TG_UNAUTHENTICATED, "login.refused");
}

static void plain_login_info_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, &(struct scripted_faults){.plain = true});
    assert_true(scripted_gateway(s)->login_must_be_sealed);
    expect_refused(f, s, TG_FAILED_PRECONDITION, "login.refused");
    assert_string_equal(f->seen_user, "");
}

static void plain_login_info_where_it_is_allowed(void **state)
{
    struct fixture *f = fixture_new("login_must_be_sealed: false");
    (void)state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, &(struct scripted_faults){.plain = true});
    assert_false(scripted_gateway(s)->login_must_be_sealed);
    scripted_close(s);
    s = fixture_client(f, SCRIPTED_LOGIN, &(struct scripted_faults){.plain = true, .other_random = true});
    assert_int_equal(scripted_expect_refused(s), TG_UNAUTHENTICATED);
    scripted_close(s);
    s = fixture_client(f, SCRIPTED_WELCOME, NULL); /* sealed is welcome as well */
    scripted_close(s);
    fixture_free(f);
}

static void someone_elses_shield_is_refused(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = fixture_key(f, "bob", NULL);
    struct scripted *s = fixture_connect(f, NULL);
    assert_true(scripted_until(s, SCRIPTED_LOGIN, key, "alice", "right"));
    expect_refused(f, s, TG_UNAUTHENTICATED, "login.refused");
    assert_string_equal(f->seen_user, "");
    s = fixture_connect(f, NULL);
    shield_key_free(key);
    key = fixture_key(f, "bob", NULL);
    assert_true(scripted_until(s, SCRIPTED_WELCOME, key, "bob", "right"));
    shield_key_free(key);
    scripted_close(s);
}

static void wrong_password_is_refused(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = fixture_key(f, NULL, NULL);
    struct scripted *s = fixture_connect(f, NULL);
    assert_true(scripted_until(s, SCRIPTED_LOGIN, key, "alice", "wrong"));
    shield_key_free(key);
    expect_refused(f, s, TG_UNAUTHENTICATED, "login.refused");
}

static void user_names_that_could_forge_logs_are_refused(void **state)
{
    struct fixture *f = *state;
    char longest[NAME_TEXT_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const users[] = {"", "alice\nadmin", longest};
    for (size_t i = 0; i < 3; i++) {
        struct shield_key *key = fixture_key(f, NULL, NULL);
        struct scripted *s = fixture_connect(f, NULL);
        assert_true(scripted_until(s, SCRIPTED_LOGIN, key, users[i], "right"));
        assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
        assert_string_equal(fixture_event(f, "login.refused", i + 1).user, "");
        shield_key_free(key);
        scripted_close(s);
    }
}

/* ---- the verdict ---- */

static struct scripted *challenged(struct fixture *f, const char *password,
                                   const struct scripted_faults *faults)
{
    struct shield_key *key = fixture_key(f, NULL, NULL);
    struct scripted *s = fixture_connect(f, NULL);
    if (faults != NULL)
        *scripted_faults(s) = *faults;
    assert_true(scripted_until(s, SCRIPTED_LOGIN, key, "alice", password));
    shield_key_free(key);
    return s;
}

static void answer_rounds(struct scripted *s, uint32_t rounds)
{
    struct scripted_frame frame;
    for (uint32_t round = 1; round <= rounds; round++) {
        assert_true(scripted_expect(s, FRAME_CHALLENGE, &frame));
        assert_true(scripted_answer(s, round, "code"));
    }
}

static void eight_rounds_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = challenged(f, "challenge:8", NULL);
    answer_rounds(s, 8);
    assert_true(scripted_welcome(s));
    scripted_close(s);
    s = challenged(f, "challenge:9", NULL);
    answer_rounds(s, 8);
    assert_int_equal(scripted_expect_refused(s), TG_UNAUTHENTICATED);
    scripted_close(s);
}

static void answers_out_of_sequence_or_altered_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct scripted_faults faults[] = {{.answer_ahead = 1}, {.answer_ahead = UINT32_MAX}};
    for (size_t i = 0; i < 2; i++) {
        struct scripted *s = challenged(f, "challenge:1", &faults[i]);
        answer_rounds(s, 1);
        assert_int_equal(scripted_expect_refused(s), TG_UNAUTHENTICATED);
        scripted_close(s);
    }
    struct scripted *s = challenged(f, "challenge:1", NULL);
    scripted_faults(s)->plain = true;
    answer_rounds(s, 1);
    assert_int_equal(scripted_expect_refused(s), TG_FAILED_PRECONDITION);
    scripted_close(s);
}

static void wrong_answer_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted_frame frame;
    struct scripted *s = challenged(f, "challenge:2", NULL);
    assert_true(scripted_expect(s, FRAME_CHALLENGE, &frame));
    assert_true(scripted_answer(s, 1, "no code"));
    expect_refused(f, s, TG_UNAUTHENTICATED, "login.refused");
}

static void policy_comes_from_radius_then_shield_then_default(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_connect(f, NULL);
    struct shield_key *key = fixture_key(f, NULL, "narrow");
    assert_true(scripted_until(s, SCRIPTED_WELCOME, key, "alice", "right"));
    assert_string_equal(scripted_terms(s)->policy, "narrow");
    shield_key_free(key);
    scripted_close(s);

    strcpy(f->filter_id, "all");
    s = fixture_connect(f, NULL);
    key = fixture_key(f, NULL, "narrow");
    assert_true(scripted_until(s, SCRIPTED_WELCOME, key, "alice", "right"));
    assert_string_equal(scripted_terms(s)->policy, "all");
    shield_key_free(key);
    scripted_close(s);
}

static void unknown_policy_is_refused(void **state)
{
    struct fixture *f = *state;
    strcpy(f->filter_id, "nobody-knows");
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, NULL);
    expect_refused(f, s, TG_PERMISSION_DENIED, "login.refused");
}

static void nobody_gets_in_without_a_policy(void **state)
{
    struct fixture *f = fixture_new("default_policy: \"\"");
    (void)state;
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, NULL);
    expect_refused(f, s, TG_PERMISSION_DENIED, "login.refused");
    fixture_free(f);
}

static void full_gateway_says_so_at_hello(void **state)
{
    struct fixture *f = fixture_new("max_sessions: 1");
    (void)state;
    struct scripted *first = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct scripted *second = fixture_connect(f, NULL);
    assert_true(scripted_tls(second) && scripted_hello(second));
    assert_int_equal(scripted_expect_refused(second), TG_RESOURCE_EXHAUSTED);
    scripted_close(second);
    assert_true(scripted_bye(first) && scripted_expect_close(first));
    scripted_close(first);
    fixture_event(f, "session.ended", 1);
    fixture_free(f);
}

static void login_in_suite(struct fixture *f, uint32_t suite)
{
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, &(struct scripted_faults){.suite = suite});
    assert_int_equal(scripted_gateway(s)->suite, suite);
    assert_string_equal(scripted_gateway(s)->qkud_id, "qkud-1");
    const Tg__Welcome *terms = scripted_terms(s);
    assert_string_equal(terms->policy, "all");
    assert_string_equal(terms->banner, "Good evening");
    assert_int_equal(terms->session_timeout_s, 3600);
    assert_int_equal(terms->n_targets, 1);
    assert_string_equal(terms->targets[0]->host, "127.0.0.1");
    assert_int_equal(terms->targets[0]->port_last, 65535);
    assert_string_equal(f->seen_user, "alice");
    assert_string_equal(f->seen_station, "127.0.0.1");
    scripted_close(s);
}

static void both_suites(void **state)
{
    struct fixture *f = *state;
    strcpy(f->reply_message, "Good evening");
    f->session_timeout_s = 3600;
    login_in_suite(f, SUITE_AES256_GCM_SHA256);
    login_in_suite(f, SUITE_SM4_CTR_HMAC_SM3);
    struct fixture_event event = fixture_event(f, "login.accepted", 2);
    assert_true(event.success);
    assert_string_equal(event.user, "alice");
    assert_string_equal(event.policy, "all");
    assert_string_equal(event.session, f->seen_session);
    assert_int_equal(event.ticket_len, TICKET_LEN);
    assert_string_equal(fixture_event(f, "handshake.authenticated", 2).trace, event.trace);
    assert_string_equal(fixture_event(f, "session.ended", 2).user, "alice");
}

static void the_gateways_preference_decides(void **state)
{
    struct fixture *f = *state; /* the scripted client names SM4 first */
    struct scripted *s = fixture_client(f, SCRIPTED_IDENTITY, NULL);
    assert_int_equal(scripted_gateway(s)->suite, SUITE_AES256_GCM_SHA256);
    scripted_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_version_is_refused),
        TEST(unknown_suite_is_refused),
        TEST(altered_encrypted_random_is_refused),
        TEST(spent_ticket_is_refused),
        TEST(unknown_ticket_is_refused),
        TEST(ticket_info_for_another_request_is_refused),
        TEST(pipelined_frame_is_refused),
        TEST(channel_with_another_key_is_refused),
        TEST(other_client_random_is_refused),
        TEST(altered_login_info_is_refused),
        TEST(plain_login_info_is_refused),
        cmocka_unit_test(plain_login_info_where_it_is_allowed),
        TEST(someone_elses_shield_is_refused),
        TEST(wrong_password_is_refused),
        TEST(user_names_that_could_forge_logs_are_refused),
        TEST(eight_rounds_and_no_more),
        TEST(answers_out_of_sequence_or_altered_are_refused),
        TEST(wrong_answer_is_refused),
        TEST(policy_comes_from_radius_then_shield_then_default),
        TEST(unknown_policy_is_refused),
        cmocka_unit_test(nobody_gets_in_without_a_policy),
        cmocka_unit_test(full_gateway_says_so_at_hello),
        TEST(both_suites),
        TEST(the_gateways_preference_decides),
    };
    return cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
