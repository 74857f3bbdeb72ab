/* A session's life: what operators may ask, its timeouts, reload and drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/pb.h"
#include "proto/gateway.pb-c.h"
#include "services/gateway/policy.h"
#include "tests/unit/gateway/fixture.h"

static enum tg_code ask(struct fixture *f, const char *method, const ProtobufCMessage *message,
                        ProtobufCMessage **answer)
{
    struct tg_error err;
    const struct rpc_request request = {
        .service = &tg__gateway__descriptor, .method = method, .message = message, .budget_ms = 30000};
    return rpc_call_wait(f->operator, & request, answer, &err);
}

static void expect_bye(struct scripted *s, enum tg_code code, const char *text)
{
    struct scripted_frame frame;
    assert_true(scripted_expect(s, FRAME_BYE, &frame));
    ProtobufCMessage *bye = pb_unpack(&tg__bye__descriptor, frame.payload, frame.header.length);
    assert_non_null(bye);
    assert_int_equal(((Tg__Bye *)bye)->code, code);
    assert_non_null(strstr(((Tg__Bye *)bye)->text, text));
    pb_free(bye);
    assert_true(scripted_expect_close(s));
}

static enum tg_code kill_session(struct fixture *f, const char *id, const char *reason)
{
    Tg__SessionKillRequest request = TG__SESSION_KILL_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    request.session_id = pb_string(id);
    request.reason = pb_string(reason);
    enum tg_code code = ask(f, "SessionKill", &request.base, &answer);
    if (code == TG_OK)
        rpc_free_response(answer);
    return code;
}

static void killing_what_is_not_there(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(kill_session(f, "00112233445566778899aabbccddeeff", ""), TG_NOT_FOUND);
    assert_int_equal(kill_session(f, "0011", ""), TG_INVALID_ARGUMENT);
    assert_int_equal(kill_session(f, "00112233445566778899aabbccddeeff", "line\nbreak"), TG_INVALID_ARGUMENT);
}

static void killing_cuts_live_streams(void **state)
{
    struct fixture *f = *state;
    char hex[33], byte;
    uint16_t port;
    int listening = target_listen(&port);
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct scripted *other = fixture_client(f, SCRIPTED_WELCOME, NULL);
    assert_true(scripted_open(s, 1, "127.0.0.1", port));
    assert_int_equal(scripted_expect_opened(s, 1), TG_OK);
    int target = target_accept(listening);
    hex_encode(scripted_terms(s)->session_id.data, 16, hex);
    assert_int_equal(kill_session(f, hex, "shift is over"), TG_OK);
    assert_true(recv(target, &byte, 1, 0) <= 0);
    expect_bye(s, TG_CANCELLED, "shift is over");
    struct fixture_event event = fixture_event(f, "session.ended", 1);
    assert_string_equal(event.session, hex);
    assert_non_null(strstr(event.detail, "shift is over"));
    assert_int_equal(kill_session(f, hex, ""), TG_NOT_FOUND);
    assert_true(scripted_bye(other) && scripted_expect_close(other));
    scripted_close(s);
    scripted_close(other);
    close(target);
    close(listening);
}

/* All sessions of both workers, in pages of two. */
static void listing_in_pages(void **state)
{
    enum { SESSIONS = 7 };
    struct fixture *f = *state;
    struct scripted *clients[SESSIONS];
    char after[33] = "";
    size_t seen = 0, pages = 0;
    bool more = true;
    for (size_t i = 0; i < SESSIONS; i++)
        clients[i] = fixture_client(f, SCRIPTED_WELCOME, NULL);
    for (; more; pages++) {
        Tg__SessionListRequest request = TG__SESSION_LIST_REQUEST__INIT;
        ProtobufCMessage *answer;
        request.after = after;
        request.limit = 2;
        assert_int_equal(ask(f, "SessionList", &request.base, &answer), TG_OK);
        const Tg__SessionListResponse *list = (const Tg__SessionListResponse *)answer;
        more = list->more;
        assert_true(list->n_sessions == 2 || !more);
        for (size_t i = 0; i < list->n_sessions; i++, seen++) {
            assert_true(strcmp(list->sessions[i]->session_id, after) > 0);
            assert_string_equal(list->sessions[i]->user, "alice");
            assert_string_equal(list->sessions[i]->policy, "all");
            assert_true(list->sessions[i]->started_s > 0);
            snprintf(after, sizeof after, "%s", list->sessions[i]->session_id);
        }
        rpc_free_response(answer);
    }
    assert_int_equal(seen, SESSIONS);
    assert_int_equal(pages, 4);
    for (size_t i = 0; i < SESSIONS; i++)
        scripted_close(clients[i]);
}

static void session_timeout(void **state)
{
    struct fixture *f = *state;
    f->session_timeout_s = 1;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    expect_bye(s, TG_DEADLINE_EXCEEDED, "time is over");
    assert_string_equal(fixture_event(f, "session.ended", 1).detail, "Session-Timeout");
    scripted_close(s);
}

/* PING keeps the network awake, but it is no work: the session is idle all the same. */
static void idle_timeout(void **state)
{
    struct fixture *f = *state;
    struct scripted_frame frame = {.header = {.type = 0}};
    Tg__Ping ping = TG__PING__INIT;
    f->idle_timeout_s = 1;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    do
        assert_true(scripted_send_message(s, FRAME_PING, 0, &ping.base) && scripted_receive(s, &frame));
    while (frame.header.type == FRAME_PONG && usleep(20000) == 0);
    assert_int_equal(frame.header.type, FRAME_BYE);
    assert_string_equal(fixture_event(f, "session.ended", 1).detail, "Idle-Timeout");
    scripted_close(s);
}

static void ping_is_answered_with_the_same(void **state)
{
    struct fixture *f = *state;
    struct scripted_frame frame;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    Tg__Ping ping = TG__PING__INIT;
    ping.opaque = 0x0123456789abcdef;
    assert_true(scripted_send_message(s, FRAME_PING, 0, &ping.base));
    assert_true(scripted_expect(s, FRAME_PONG, &frame));
    ProtobufCMessage *pong = pb_unpack(&tg__ping__descriptor, frame.payload, frame.header.length);
    assert_true(((Tg__Ping *)pong)->opaque == ping.opaque);
    pb_free(pong);
    scripted_close(s);
}

/* Who sends PINGs and never reads the PONGs is cut off; nothing grows without bound. */
static void clients_that_do_not_read(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    uint8_t pings[1700 * FRAME_HEADER_LEN];
    for (size_t i = 0; i < sizeof pings; i += FRAME_HEADER_LEN)
        frame_encode(&(struct frame_header){.type = FRAME_PING}, pings + i);
    while (scripted_send_bytes(s, pings, sizeof pings))
        ;
    fixture_event(f, "session.ended", 1);
    scripted_close(s);
}

static void reload_changes_new_connections_alone(void **state)
{
    struct fixture *f = *state;
    struct scripted *before = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct policy_config renamed = {.name = (char[]){"newer"}};
    struct config_list kept = f->config.policies;
    char target[] = "127.0.0.1:80", *targets = target;
    char *default_policy = f->config.default_policy;
    renamed.targets = (struct config_list){.items = &targets, .count = 1};
    f->config.policies = (struct config_list){.items = &renamed, .count = 1};
    f->config.default_policy = renamed.name;
    gateway_reload(f->gateway, &f->config);
    struct scripted *after = fixture_client(f, SCRIPTED_WELCOME, NULL);
    assert_string_equal(scripted_terms(after)->policy, "newer");
    assert_true(scripted_open(before, 1, "127.0.0.1", 80));
    assert_int_equal(scripted_expect_opened(before, 1), TG_PERMISSION_DENIED);

    char bad[] = "127.0.0.1";
    targets = bad;
    gateway_reload(f->gateway, &f->config); /* not good: the one before stays */
    scripted_close(after);
    after = fixture_client(f, SCRIPTED_WELCOME, NULL);
    f->config.policies = kept;
    f->config.default_policy = default_policy;
    scripted_close(before);
    scripted_close(after);
}

static void drain_says_bye_and_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct scripted *half = fixture_client(f, SCRIPTED_IDENTITY, NULL);
    gateway_drain(f->gateway, 0);
    expect_bye(s, TG_UNAVAILABLE, "restarting");
    assert_int_equal(scripted_expect_refused(half), TG_UNAVAILABLE);
    for (struct scripted *late; (late = scripted_connect(f->gateway->address, NULL)) != NULL;)
        scripted_close(late); /* each worker closes its own listening socket */
    scripted_close(s);
    scripted_close(half);
    gateway_drain(f->gateway, 30000); /* returns as soon as nobody is left */
}

/* With SO_REUSEPORT a second gateway would silently take half of the clients. */
static void a_second_gateway_on_the_same_port_does_not_start(void **state)
{
    struct fixture *f = *state;
    struct gateway_config config = f->config;
    struct gateway *second;
    struct tg_error err;
    config.listen = f->gateway->address;
    assert_int_equal(gateway_open(&config, &second, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, f->gateway->address));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killing_what_is_not_there),
        TEST(killing_cuts_live_streams),
        TEST(listing_in_pages),
        TEST(session_timeout),
        TEST(idle_timeout),
        TEST(ping_is_answered_with_the_same),
        TEST(clients_that_do_not_read),
        TEST(reload_changes_new_connections_alone),
        TEST(drain_says_bye_and_refused),
        TEST(a_second_gateway_on_the_same_port_does_not_start),
    };
    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
