/* The gateway and the audit log: what waits for an event to be durable, and what happens when no more can be
 * queued. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/audit_queue.h"
#include "common/pb.h"
#include "tests/unit/gateway/fixture.h"

static void fail_audit(struct fixture *f, bool fails)
{
    f->failure = TG_RESOURCE_EXHAUSTED;
    fixture_set_mode(f, &f->audit_mode, fails ? PEER_FAILS : PEER_ANSWERS);
}

static bool has_bytes(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, 0) > 0;
}

/* All that the gateway had to send before it is here: the next frame is the PONG. */
static void expect_only_pong(struct scripted *s)
{
    struct scripted_frame frame;
    Tg__Ping ping = TG__PING__INIT;
    assert_true(scripted_send_message(s, FRAME_PING, 0, &ping.base));
    assert_true(scripted_expect(s, FRAME_PONG, &frame));
}

/* The target is dialled meanwhile, but not a byte flows either way. */
static void no_byte_flows_before_the_event_is_durable(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct scripted_frame frame;
    uint16_t port;
    int listening = target_listen(&port);
    fixture_event(f, "login.accepted", 1);
    fixture_set_mode(f, &f->audit_mode, PEER_HOLDS);
    assert_true(scripted_open(s, 1, "127.0.0.1", port));
    int target = target_accept(listening);
    assert_int_equal(send(target, "banner", 6, 0), 6);
    fixture_await_held(f, 1);
    expect_only_pong(s);
    assert_false(has_bytes(target));
    assert_int_equal(fixture_event_count(f, "stream.opened"), 0);
    fixture_set_mode(f, &f->audit_mode, PEER_ANSWERS);
    fixture_fail_first(f, TG_UNAVAILABLE); /* it is tried again */
    assert_int_equal(scripted_expect_opened(s, 1), TG_OK);
    assert_int_equal(fixture_event_count(f, "stream.opened"), 1);
    assert_true(scripted_expect(s, FRAME_DATA, &frame));
    assert_memory_equal(frame.payload, "banner", 6);
    scripted_close(s);
    close(target);
    close(listening);
    struct fixture_event event = fixture_event(f, "stream.closed", 1);
    assert_int_equal(event.bytes_out, 6);
}

static void a_stream_that_cannot_be_recorded_is_refused(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    uint16_t port;
    char byte;
    int listening = target_listen(&port);
    fail_audit(f, true);
    assert_true(scripted_open(s, 1, "127.0.0.1", port));
    assert_int_equal(scripted_expect_opened(s, 1), TG_UNAVAILABLE);
    int target = target_accept(listening);
    assert_true(recv(target, &byte, 1, 0) <= 0);
    close(target);
    fail_audit(f, false);
    struct fixture_event event = fixture_event(f, "stream.failed", 1);
    assert_non_null(strstr(event.reason, "audit log"));
    assert_true(scripted_open(s, 3, "127.0.0.1", port)); /* the session lives */
    assert_int_equal(scripted_expect_opened(s, 3), TG_OK);
    scripted_close(s);
    close(listening);
}

static void a_target_that_is_not_reached_is_recorded(void **state)
{
    struct fixture *f = *state;
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    uint16_t port;
    close(target_listen(&port));
    assert_true(scripted_open(s, 1, "127.0.0.1", port));
    assert_int_equal(scripted_expect_opened(s, 1), TG_UNAVAILABLE);
    assert_non_null(strstr(fixture_event(f, "stream.failed", 1).reason, "Connection refused"));
    scripted_close(s);
    fixture_event(f, "session.ended", 1);
    assert_int_equal(fixture_event_count(f, "stream.closed"), 0);
}

/* Fills the queue with what one session is refused. Returns how many refusals that took; the session has
 * ended. */
static size_t fill_queue(struct scripted *s)
{
    struct scripted_frame frame;
    size_t refused = 0;
    for (uint32_t number = 1;; number += 2) {
        assert_true(scripted_open(s, number, "127.0.0.1", 1));
        do
            assert_true(scripted_receive(s, &frame));
        while (frame.header.type != FRAME_OPENED && frame.header.type != FRAME_BYE);
        if (frame.header.type == FRAME_BYE)
            break;
        refused++;
    }
    Tg__Bye *bye =
        (Tg__Bye *)protobuf_c_message_unpack(&tg__bye__descriptor, NULL, frame.header.length, frame.payload);
    assert_non_null(bye);
    assert_int_equal(bye->code, TG_UNAVAILABLE);
    assert_non_null(strstr(bye->text, "audit log"));
    protobuf_c_message_free_unpacked(&bye->base, NULL);
    assert_true(scripted_expect_close(s));
    return refused;
}

static void a_session_whose_event_cannot_be_queued_ends(void **state)
{
    struct fixture *f = *state;
    struct scripted *quiet = fixture_client(f, SCRIPTED_WELCOME, NULL);
    struct scripted *loud = fixture_client(f, SCRIPTED_WELCOME, NULL);
    fixture_event(f, "login.accepted", 2);
    fail_audit(f, true);
    size_t refused = fill_queue(loud);
    assert_true(refused <= AUDIT_QUEUE_MAX && refused > AUDIT_QUEUE_MAX - 16);
    assert_string_equal(gateway_not_serving(f->gateway), "too many events wait for the audit service");
    expect_only_pong(quiet); /* who needs no event goes on */

    fail_audit(f, false);
    struct fixture_event ended = fixture_event(f, "session.ended", 1);
    assert_string_equal(ended.detail, "too many events wait for the audit service");
    fixture_event(f, "stream.refused", refused);
    assert_int_equal(fixture_event_count(f, "stream.refused"), refused);
    assert_int_equal(audit_client_lost(f->gateway->audit), 0);
    scripted_close(quiet);
    scripted_close(loud);
}

/* Nobody's ticket is even looked at, and no key is spent; strangers are counted. */
static void while_the_queue_is_full_no_ticket_is_taken(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = fixture_key(f, NULL, NULL);
    struct scripted *late = fixture_connect(f, NULL);
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("stream.refused");
    assert_true(scripted_until(late, SCRIPTED_IDENTITY, key, "alice", "right"));
    fail_audit(f, true);
    while (audit_post(f->gateway->audit, &event))
        ;
    assert_true(scripted_authenticate(late, key));
    assert_int_equal(scripted_expect_refused(late), TG_UNAVAILABLE);
    scripted_close(late);
    late = fixture_connect(f, NULL);
    assert_true(scripted_tls(late) && scripted_hello(late));
    assert_int_equal(scripted_expect_refused(late), TG_UNAVAILABLE);
    scripted_close(late);
    shield_key_free(key);
    assert_false(f->tickets[0].spent);

    fail_audit(f, false);
    fixture_event(f, "stream.refused", AUDIT_QUEUE_MAX);
    assert_int_equal(fixture_event_count(f, "handshake.refused"), 0);
    struct scripted *stranger = fixture_connect(f, NULL);
    assert_true(scripted_send_raw(stranger, "GET / HTTP/1.1\r\n\r\n", 18));
    assert_true(scripted_expect_close(stranger));
    scripted_close(stranger);
    assert_string_equal(fixture_event(f, "handshake.refused", 1).detail,
                        "2 more before it were not recorded");
    assert_int_equal(audit_client_lost(f->gateway->audit), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_byte_flows_before_the_event_is_durable),  TEST(a_stream_that_cannot_be_recorded_is_refused),
        TEST(a_target_that_is_not_reached_is_recorded),   TEST(a_session_whose_event_cannot_be_queued_ends),
        TEST(while_the_queue_is_full_no_ticket_is_taken),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
