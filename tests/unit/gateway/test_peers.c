/* Other services that fail, hang or are gone: clear refusals, nobody gets in unseen, and it recovers by
 * itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "services/gateway/admission.h"
#include "tests/unit/gateway/fixture.h"

#define SHORT "handshake_timeout: 2s\nlogin_timeout: 5s"

static void expect_unavailable(struct fixture *f)
{
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, NULL);
    assert_int_equal(scripted_expect_refused(s), TG_UNAVAILABLE);
    scripted_close(s);
}

static void expect_unavailable_at_authenticate(struct fixture *f)
{
    struct scripted *s = fixture_client(f, SCRIPTED_AUTHENTICATE, NULL);
    assert_int_equal(scripted_expect_refused(s), TG_UNAVAILABLE);
    scripted_close(s);
}

static void expect_login(struct fixture *f)
{
    scripted_close(fixture_client(f, SCRIPTED_WELCOME, NULL));
}

static void failing_resolver(void **state)
{
    struct fixture *f = *state;
    f->failure = TG_INTERNAL;
    fixture_set_mode(f, &f->resolver_mode, PEER_FAILS);
    expect_unavailable_at_authenticate(f);
    fixture_set_mode(f, &f->resolver_mode, PEER_ANSWERS);
    expect_login(f);
}

static void hanging_resolver(void **state)
{
    struct fixture *f = fixture_new(SHORT);
    (void)state;
    fixture_set_mode(f, &f->resolver_mode, PEER_HOLDS);
    expect_unavailable_at_authenticate(f);
    fixture_set_mode(f, &f->resolver_mode, PEER_ANSWERS);
    fixture_release(f);
    expect_login(f);
    fixture_free(f);
}

/* The client is gone when the answer comes: it must go into the void, not into freed memory. */
static void answers_for_clients_that_are_gone(void **state)
{
    struct fixture *f = *state;
    fixture_set_mode(f, &f->resolver_mode, PEER_HOLDS);
    struct scripted *first = fixture_client(f, SCRIPTED_AUTHENTICATE, NULL);
    fixture_await_held(f, 1);
    scripted_close(first);
    fixture_set_mode(f, &f->resolver_mode, PEER_ANSWERS);
    expect_login(f);
    fixture_release(f);
    fixture_set_mode(f, &f->bridge_mode, PEER_HOLDS);
    struct scripted *second = fixture_client(f, SCRIPTED_LOGIN, NULL);
    fixture_await_held(f, 1);
    scripted_close(second);
    fixture_release(f);
    fixture_set_mode(f, &f->bridge_mode, PEER_ANSWERS);
    expect_login(f);
}

/* Trying passwords and leaving before the verdict must leave a trace. */
static void leaving_before_the_verdict_is_recorded(void **state)
{
    struct fixture *f = *state;
    fixture_set_mode(f, &f->bridge_mode, PEER_HOLDS);
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, NULL);
    fixture_await_held(f, 1);
    scripted_close(s);
    struct fixture_event event = fixture_event(f, "login.refused", 1);
    assert_string_equal(event.user, "alice");
    assert_int_equal(event.ticket_len, TICKET_LEN);
    assert_non_null(strstr(event.reason, "went away"));
}

static void strangers_who_leave_are_not_recorded(void **state)
{
    struct fixture *f = *state;
    scripted_close(fixture_client(f, SCRIPTED_IDENTITY, NULL));
    assert_true(admission_wait_empty(f->gateway->admission, 30000));
    expect_login(f);
    fixture_event(f, "session.ended", 1); /* takes the same way as an event of his would, and after it */
    assert_int_equal(fixture_event_count(f, "handshake.refused"), 0);
}

/* The client is gone while login.accepted is written: the log does not keep the session open. */
static void leaving_before_the_welcome_ends_the_session(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_CHANNEL, NULL);
    fixture_event(f, "handshake.authenticated", 1);
    fixture_set_mode(f, &f->audit_mode, PEER_HOLDS);
    assert_true(scripted_login(s, "alice", "right"));
    fixture_await_held(f, 1);
    scripted_close(s);
    assert_true(admission_wait_empty(f->gateway->admission, 30000));
    fixture_set_mode(f, &f->audit_mode, PEER_ANSWERS);
    fixture_release(f);
    struct fixture_event event = fixture_event(f, "session.ended", 1);
    assert_string_equal(event.user, "alice");
    assert_non_null(strstr(event.detail, "welcomed"));
}

/* Nor may it reach whoever has come since: the second client waits for its own answer. */
static void answers_for_clients_that_are_gone_reach_nobody_else(void **state)
{
    struct fixture *f = fixture_new("workers: 1");
    (void)state;
    fixture_set_mode(f, &f->resolver_mode, PEER_HOLDS);
    scripted_close(fixture_client(f, SCRIPTED_AUTHENTICATE, NULL));
    fixture_await_held(f, 1);
    struct scripted *second = fixture_client(f, SCRIPTED_AUTHENTICATE, NULL);
    fixture_await_held(f, 2);
    fixture_fail_first(f, TG_NOT_FOUND);
    scripted_close(fixture_client(f, SCRIPTED_IDENTITY, NULL)); /* the worker has been through its loop */
    fixture_fail_first(f, TG_INTERNAL);
    assert_int_equal(scripted_expect_refused(second), TG_UNAVAILABLE);
    scripted_close(second);
    fixture_free(f);
}

/* Bytes while the gateway has the word: refused, although it still waits for the answer. */
static void impatient_client(void **state)
{
    struct fixture *f = *state;
    fixture_set_mode(f, &f->bridge_mode, PEER_HOLDS);
    struct scripted *s = fixture_client(f, SCRIPTED_LOGIN, NULL);
    fixture_await_held(f, 1);
    assert_true(scripted_send_bytes(s, "x", 1));
    assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
    fixture_set_mode(f, &f->bridge_mode, PEER_ANSWERS);
    fixture_release(f);
    scripted_close(s);
    assert_int_equal(fixture_event_count(f, "login.accepted"), 0);
}

static void failing_bridge(void **state)
{
    struct fixture *f = *state;
    f->failure = TG_INTERNAL;
    fixture_set_mode(f, &f->bridge_mode, PEER_FAILS);
    expect_unavailable(f);
    fixture_set_mode(f, &f->bridge_mode, PEER_ANSWERS);
    expect_login(f);
}

static void hanging_bridge(void **state)
{
    struct fixture *f = fixture_new(SHORT);
    (void)state;
    fixture_set_mode(f, &f->bridge_mode, PEER_HOLDS);
    expect_unavailable(f);
    fixture_set_mode(f, &f->bridge_mode, PEER_ANSWERS);
    fixture_release(f);
    expect_login(f);
    fixture_free(f);
}

static void nobody_gets_in_without_audit(void **state)
{
    struct fixture *f = *state;
    f->failure = TG_RESOURCE_EXHAUSTED; /* as when its disk is full */
    struct scripted *s = fixture_client(f, SCRIPTED_CHANNEL, NULL);
    fixture_set_mode(f, &f->audit_mode, PEER_FAILS);
    assert_true(scripted_login(s, "alice", "right"));
    assert_int_equal(scripted_expect_refused(s), TG_UNAVAILABLE);
    scripted_close(s);
    fixture_set_mode(f, &f->audit_mode, PEER_ANSWERS);
    fixture_event(f, "login.refused", 1); /* what could wait is reported afterwards */
    assert_int_equal(fixture_event_count(f, "login.accepted"), 0);
    /* The place that the session would have taken is given back when the connection is closed. */
    assert_true(admission_wait_empty(f->gateway->admission, 30000));
}

static void hanging_audit(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_CHANNEL, NULL);
    fixture_event(f, "handshake.authenticated", 1);
    fixture_set_mode(f, &f->audit_mode, PEER_HOLDS);
    assert_true(scripted_login(s, "alice", "right"));
    assert_int_equal(scripted_expect_refused(s), TG_UNAVAILABLE);
    scripted_close(s);
    fixture_set_mode(f, &f->audit_mode, PEER_ANSWERS);
    fixture_release(f);
}

/* A ticket must not be burned when it is known that the login cannot succeed. */
static void missing_peers_are_told_at_hello(void **state)
{
    struct fixture *f = *state;
    rpc_server_close(f->bridge);
    f->bridge = NULL;
    while (gateway_not_serving(f->gateway) == NULL)
        usleep(1000);
    struct scripted *s = fixture_connect(f, NULL);
    assert_true(scripted_tls(s) && scripted_hello(s));
    assert_int_equal(scripted_expect_refused(s), TG_UNAVAILABLE);
    scripted_close(s);
    fixture_event(f, "handshake.refused", 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failing_resolver),
        cmocka_unit_test(hanging_resolver),
        TEST(answers_for_clients_that_are_gone),
        cmocka_unit_test(answers_for_clients_that_are_gone_reach_nobody_else),
        TEST(leaving_before_the_verdict_is_recorded),
        TEST(strangers_who_leave_are_not_recorded),
        TEST(leaving_before_the_welcome_ends_the_session),
        TEST(impatient_client),
        TEST(failing_bridge),
        cmocka_unit_test(hanging_bridge),
        TEST(nobody_gets_in_without_audit),
        TEST(hanging_audit),
        TEST(missing_peers_are_told_at_hello),
    };
    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
