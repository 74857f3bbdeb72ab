/* Streams of a session: forbidden targets, broken rules, backpressure, half-closing, and data both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/protocol/stream.h"
#include "tests/unit/gateway/fixture.h"

enum { WINDOW = 64 * 1024 };

struct session {
    struct fixture *f;
    struct scripted *s;
    int listening, target; /* the target's end of stream 1 */
    uint16_t port;
};

static int session_setup(void **state)
{
    struct session *t = calloc(1, sizeof *t);
    t->f = fixture_new(NULL);
    t->s = fixture_client(t->f, SCRIPTED_WELCOME, NULL);
    t->listening = target_listen(&t->port);
    t->target = -1;
    *state = t;
    return 0;
}

static int session_teardown(void **state)
{
    struct session *t = *state;
    scripted_close(t->s);
    fixture_free(t->f);
    close(t->listening);
    if (t->target >= 0)
        close(t->target);
    free(t);
    return 0;
}

static void open_stream(struct session *t, uint32_t number)
{
    assert_true(scripted_open(t->s, number, "127.0.0.1", t->port));
    assert_int_equal(scripted_expect_opened(t->s, number), TG_OK);
    if (t->target >= 0)
        close(t->target);
    t->target = target_accept(t->listening);
}

static void send_all(int fd, const void *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        bytes = (const char *)bytes + n;
        len -= (size_t)n;
    }
}

static void receive_all(int fd, void *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, bytes, len, 0);
        assert_true(n > 0);
        bytes = (char *)bytes + n;
        len -= (size_t)n;
    }
}

/* The session ends with BYE of that code, and the connection closes. */
static void expect_bye(struct scripted *s, enum tg_code code)
{
    struct scripted_frame frame;
    do
        assert_true(scripted_receive(s, &frame));
    while (frame.header.type != FRAME_BYE);
    ProtobufCMessage *bye =
        protobuf_c_message_unpack(&tg__bye__descriptor, NULL, frame.header.length, frame.payload);
    assert_non_null(bye);
    assert_int_equal(((Tg__Bye *)bye)->code, code);
    protobuf_c_message_free_unpacked(bye, NULL);
    assert_true(scripted_expect_close(s));
}

static uint32_t code_of_close(const struct scripted_frame *frame)
{
    assert_int_equal(frame->header.type, FRAME_CLOSE);
    ProtobufCMessage *closed =
        protobuf_c_message_unpack(&tg__close__descriptor, NULL, frame->header.length, frame->payload);
    assert_non_null(closed);
    uint32_t code = ((Tg__Close *)closed)->code;
    protobuf_c_message_free_unpacked(closed, NULL);
    return code;
}

/* ---- OPEN ---- */

static void forbidden_targets_are_refused_and_the_session_lives(void **state)
{
    struct session *t = *state;
    const struct {
        const char *host;
        uint32_t port;
        enum tg_code code;
    } opens[] = {
        {"127.0.0.1", 80, TG_PERMISSION_DENIED},
        {"127.0.0.2", 8080, TG_PERMISSION_DENIED},
        {"127.1", 80, TG_PERMISSION_DENIED},
        {"::1", 8080, TG_PERMISSION_DENIED},
        {"::ffff:127.0.0.2", 8080, TG_PERMISSION_DENIED},
        {"169.254.169.254", 8080, TG_PERMISSION_DENIED},
        {"10.0.0.1", 8080, TG_PERMISSION_DENIED},
        {"127.0.0.1", 0, TG_INVALID_ARGUMENT},
        {"127.0.0.1", 65536, TG_INVALID_ARGUMENT},
        {"", 8080, TG_INVALID_ARGUMENT},
        {"a b", 8080, TG_INVALID_ARGUMENT},
        {"a\nb", 8080, TG_INVALID_ARGUMENT},
    };
    uint32_t number = 1;
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++, number += 2) {
        assert_true(scripted_open(t->s, number, opens[i].host, opens[i].port));
        assert_int_equal(scripted_expect_opened(t->s, number), opens[i].code);
    }
    struct fixture_event event = fixture_event(t->f, "stream.refused", 1);
    assert_string_equal(event.target, "127.0.0.1:80");
    assert_string_equal(event.user, "alice");
    open_stream(t, number);
    assert_int_equal(fixture_event_count(t->f, "stream.refused"), sizeof opens / sizeof opens[0]);
}

/* A listed name leads to an address that is not listed: the resolved address counts. */
static void names_that_lead_to_forbidden_addresses(void **state)
{
    struct session *t = *state;
    struct shield_key *key = fixture_key(t->f, NULL, "narrow");
    struct scripted *s = fixture_connect(t->f, NULL);
    assert_true(scripted_until(s, SCRIPTED_WELCOME, key, "alice", "right"));
    shield_key_free(key);
    assert_true(scripted_open(s, 1, "localhost", 8080));
    assert_int_equal(scripted_expect_opened(s, 1), TG_PERMISSION_DENIED);
    assert_string_equal(fixture_event(t->f, "stream.refused", 1).target, "localhost:8080");
    scripted_close(s);
    assert_true(scripted_open(t->s, 1, "localhost", t->port)); /* policy "all" lists 127.0.0.1 itself */
    assert_int_equal(scripted_expect_opened(t->s, 1), TG_OK);
}

static void unreachable_targets(void **state)
{
    struct session *t = *state;
    close(t->listening);
    t->listening = -1;
    assert_true(scripted_open(t->s, 1, "127.0.0.1", t->port));
    assert_int_equal(scripted_expect_opened(t->s, 1), TG_UNAVAILABLE);
    assert_true(scripted_open(t->s, 3, "no-such-host.invalid", 8080));
    int code = scripted_expect_opened(t->s, 3);
    assert_true(code == TG_NOT_FOUND || code == TG_PERMISSION_DENIED);
    t->listening = target_listen(&t->port);
    open_stream(t, 5);
}

static void even_and_reused_numbers_end_the_session(void **state)
{
    struct session *t = *state;
    const uint32_t numbers[] = {4, 1, 3};
    for (size_t i = 0; i < 3; i++) {
        struct scripted *s = fixture_client(t->f, SCRIPTED_WELCOME, NULL);
        assert_true(scripted_open(s, 3, "127.0.0.1", t->port));
        assert_int_equal(scripted_expect_opened(s, 3), TG_OK);
        assert_true(scripted_open(s, numbers[i], "127.0.0.1", t->port));
        expect_bye(s, TG_INVALID_ARGUMENT);
        scripted_close(s);
    }
    open_stream(t, 1); /* others do not notice; but two connections wait before this one's */
    fixture_event(t->f, "session.ended", 3);
}

static void streams_are_bounded(void **state)
{
    (void)state;
    struct fixture *f = fixture_new("max_streams: 2");
    struct scripted *s = fixture_client(f, SCRIPTED_WELCOME, NULL);
    uint16_t port;
    int listening = target_listen(&port);
    assert_int_equal(scripted_terms(s)->max_streams, 2);
    for (uint32_t number = 1; number <= 3; number += 2) {
        assert_true(scripted_open(s, number, "127.0.0.1", port));
        assert_int_equal(scripted_expect_opened(s, number), TG_OK);
    }
    assert_true(scripted_open(s, 5, "127.0.0.1", port));
    assert_int_equal(scripted_expect_opened(s, 5), TG_RESOURCE_EXHAUSTED);
    assert_true(scripted_finish(s, 1, TG_CANCELLED));
    assert_true(scripted_open(s, 7, "127.0.0.1", port));
    assert_int_equal(scripted_expect_opened(s, 7), TG_OK);
    scripted_close(s);
    fixture_free(f);
    close(listening);
}

/* ---- broken rules ---- */

static void data_over_the_credit_ends_the_session(void **state)
{
    struct session *t = *state;
    uint8_t payload[FRAME_PAYLOAD_MAX] = {0};
    int room = 1;
    open_stream(t, 1);
    /* The target reads nothing, so no credit comes back once its socket is full: the window plus what sockets
     * hold. */
    setsockopt(t->target, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    size_t sent = 0;
    while (fixture_event_count(t->f, "session.ended") == 0 &&
           scripted_send(t->s, FRAME_DATA, 1, payload, sizeof payload))
        sent += sizeof payload;
    assert_true(sent > WINDOW);
    struct fixture_event event = fixture_event(t->f, "session.ended", 1);
    assert_non_null(strstr(event.detail, "credit"));
}

static void empty_data_ends_the_session(void **state)
{
    struct session *t = *state;
    open_stream(t, 1);
    assert_true(scripted_send(t->s, FRAME_DATA, 1, NULL, 0));
    expect_bye(t->s, TG_INVALID_ARGUMENT);
}

static void data_for_streams_that_never_were_ends_the_session(void **state)
{
    struct session *t = *state;
    const uint32_t numbers[] = {3, 2};
    for (size_t i = 0; i < 2; i++) {
        struct scripted *s = fixture_client(t->f, SCRIPTED_WELCOME, NULL);
        assert_true(scripted_open(s, 1, "127.0.0.1", t->port));
        assert_int_equal(scripted_expect_opened(s, 1), TG_OK);
        assert_true(scripted_send(s, FRAME_DATA, numbers[i], "x", 1));
        expect_bye(s, TG_INVALID_ARGUMENT);
        scripted_close(s);
    }
}

static void data_after_close_ends_the_session(void **state)
{
    struct session *t = *state;
    open_stream(t, 1);
    assert_true(scripted_finish(t->s, 1, TG_OK));
    assert_true(scripted_send(t->s, FRAME_DATA, 1, "x", 1));
    expect_bye(t->s, TG_INVALID_ARGUMENT);
}

static void credit_that_overflows_ends_the_session(void **state)
{
    struct session *t = *state;
    open_stream(t, 1);
    assert_true(scripted_window(t->s, 1, UINT32_MAX));
    expect_bye(t->s, TG_INVALID_ARGUMENT);
}

static void handshake_frames_in_the_session_end_it(void **state)
{
    struct session *t = *state;
    assert_true(scripted_login(t->s, "alice", "right"));
    expect_bye(t->s, TG_INVALID_ARGUMENT);
}

static void frames_for_ended_streams_are_ignored(void **state)
{
    struct session *t = *state;
    open_stream(t, 1);
    assert_true(scripted_finish(t->s, 1, TG_CANCELLED));
    assert_true(scripted_send(t->s, FRAME_DATA, 1, "late", 4));
    assert_true(scripted_window(t->s, 1, 100));
    assert_true(scripted_finish(t->s, 1, TG_OK));
    open_stream(t, 3);
    assert_true(scripted_send(t->s, FRAME_DATA, 3, "x", 1));
    char byte;
    receive_all(t->target, &byte, 1);
}

/* ---- backpressure and closing ---- */

/* Neither side may be read further than the credit goes: without WINDOW from the client exactly one window
 * arrives. */
static void targets_are_read_within_the_credit(void **state)
{
    struct session *t = *state;
    struct scripted_frame frame;
    static uint8_t bytes[3 * WINDOW];
    size_t received = 0;
    open_stream(t, 1);
    send_all(t->target, bytes, sizeof bytes);
    while (received < WINDOW) {
        assert_true(scripted_expect(t->s, FRAME_DATA, &frame));
        received += frame.header.length;
    }
    assert_int_equal(received, WINDOW);
    Tg__Ping ping = TG__PING__INIT;
    ping.opaque = 42;
    assert_true(
        scripted_send_message(t->s, FRAME_PING, 0, &ping.base)); /* what follows is its PONG, not data */
    assert_true(scripted_expect(t->s, FRAME_PONG, &frame));
    assert_true(scripted_window(t->s, 1, 10));
    assert_true(scripted_expect(t->s, FRAME_DATA, &frame));
    assert_int_equal(frame.header.length, 10);
}

static void a_target_that_finishes_can_still_be_written_to(void **state)
{
    struct session *t = *state;
    struct scripted_frame frame;
    char text[8];
    open_stream(t, 1);
    send_all(t->target, "done", 4);
    shutdown(t->target, SHUT_WR);
    assert_true(scripted_expect(t->s, FRAME_DATA, &frame));
    assert_memory_equal(frame.payload, "done", 4);
    assert_true(scripted_receive(t->s, &frame));
    assert_int_equal(code_of_close(&frame), TG_OK);
    assert_true(scripted_send(t->s, FRAME_DATA, 1, "thanks", 6));
    assert_true(scripted_finish(t->s, 1, TG_OK));
    receive_all(t->target, text, 6);
    assert_memory_equal(text, "thanks", 6);
    assert_int_equal(recv(t->target, text, 1, 0), 0);
}

static void a_client_that_finishes_can_still_read(void **state)
{
    struct session *t = *state;
    struct scripted_frame frame;
    char text[8];
    open_stream(t, 1);
    assert_true(scripted_send(t->s, FRAME_DATA, 1, "ask", 3));
    assert_true(scripted_finish(t->s, 1, TG_OK));
    receive_all(t->target, text, 3);
    assert_int_equal(recv(t->target, text, 1, 0), 0);
    send_all(t->target, "answer", 6);
    close(t->target);
    t->target = -1;
    assert_true(scripted_expect(t->s, FRAME_DATA, &frame));
    assert_int_equal(frame.header.length, 6);
    assert_true(scripted_receive(t->s, &frame));
    assert_int_equal(code_of_close(&frame), TG_OK);
}

static void a_target_that_breaks_resets_the_stream(void **state)
{
    struct session *t = *state;
    struct scripted_frame frame;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    open_stream(t, 1);
    setsockopt(t->target, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(t->target);
    t->target = -1;
    assert_true(scripted_receive(t->s, &frame));
    assert_int_equal(code_of_close(&frame), TG_UNAVAILABLE);
    open_stream(t, 3);
}

static void a_client_that_goes_closes_its_targets(void **state)
{
    struct session *t = *state;
    char byte;
    open_stream(t, 1);
    scripted_close(t->s);
    t->s = NULL;
    assert_true(recv(t->target, &byte, 1, 0) <= 0);
    fixture_event(t->f, "session.ended", 1);
}

/* Byte n of the pattern that tests send. */
static uint8_t pattern(size_t n)
{
    return (uint8_t)(n * 7 % 251);
}

/* The credit that the gateway has given back by now: all of it stands before the PONG. */
static size_t credit_back(struct scripted *s)
{
    struct scripted_frame frame;
    Tg__Ping ping = TG__PING__INIT;
    size_t credit = 0;
    assert_true(scripted_send_message(s, FRAME_PING, 0, &ping.base));
    while (scripted_receive(s, &frame) && frame.header.type != FRAME_PONG) {
        assert_int_equal(frame.header.type, FRAME_WINDOW);
        ProtobufCMessage *window =
            protobuf_c_message_unpack(&tg__window__descriptor, NULL, frame.header.length, frame.payload);
        assert_non_null(window);
        credit += ((Tg__Window *)window)->credit;
        protobuf_c_message_free_unpacked(window, NULL);
    }
    assert_int_equal(frame.header.type, FRAME_PONG);
    return credit;
}

static void send_pattern(struct scripted *s, size_t *sent, size_t len)
{
    uint8_t payload[FRAME_PAYLOAD_MAX];
    for (; len > 0; len -= len < sizeof payload ? len : sizeof payload) {
        size_t piece = len < sizeof payload ? len : sizeof payload;
        for (size_t i = 0; i < piece; i++)
            payload[i] = pattern(*sent + i);
        assert_true(scripted_send(s, FRAME_DATA, 1, payload, piece));
        *sent += piece;
    }
}

static void expect_pattern(int target, size_t from, size_t to)
{
    uint8_t got[8192];
    while (from < to) {
        size_t piece = to - from < sizeof got ? to - from : sizeof got;
        receive_all(target, got, piece);
        for (size_t i = 0; i < piece; i++)
            assert_int_equal(got[i], pattern(from + i));
        from += piece;
    }
}

/* A target that does not read: credit stops coming back when its socket is full, and what is on its way then
 * waits in the gateway. It is delivered whole and in order, and the CLOSE stays behind it. */
static void what_waits_for_a_slow_target_arrives_before_the_close(void **state)
{
    struct session *t = *state;
    size_t sent = 0, credit = WINDOW;
    open_stream(t, 1);
    while (credit > 0) {
        send_pattern(t->s, &sent, credit);
        credit = credit_back(t->s);
    }
    assert_true(sent > WINDOW);
    assert_true(scripted_finish(t->s, 1, TG_OK));
    assert_int_equal(credit_back(t->s), 0);
    char byte;
    expect_pattern(t->target, 0, sent);
    assert_int_equal(recv(t->target, &byte, 1, 0), 0);
}

/* The same while it goes on: each time the target has read a little, a little more credit comes. */
static void slow_targets_hold_their_client_back(void **state)
{
    struct session *t = *state;
    size_t sent = 0, read = 0, credit = WINDOW;
    open_stream(t, 1);
    while (sent < 12000000) {
        send_pattern(t->s, &sent, credit);
        while ((credit = credit_back(t->s)) == 0) {
            expect_pattern(t->target, read, read + 10000);
            read += 10000;
        }
    }
    assert_true(scripted_finish(t->s, 1, TG_OK));
    expect_pattern(t->target, read, sent);
}

/* Many streams at once, echoed by a child process, each with its own bytes. */
static void many_streams_do_not_mix(void **state)
{
    struct session *t = *state;
    enum { STREAMS = 40, ROUNDS = 20, LEN = 3000 };
    struct scripted_frame frame;
    int targets[STREAMS];
    uint8_t payload[LEN];
    size_t back[STREAMS] = {0};
    for (uint32_t i = 0; i < STREAMS; i++) {
        assert_true(scripted_open(t->s, 2 * i + 1, "127.0.0.1", t->port));
        assert_int_equal(scripted_expect_opened(t->s, 2 * i + 1), TG_OK);
        targets[i] = target_accept(t->listening);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < STREAMS; i++) {
            memset(payload, (int)i, LEN);
            assert_true(scripted_send(t->s, FRAME_DATA, 2 * i + 1, payload, LEN));
        }
        for (uint32_t i = 0; i < STREAMS; i++) {
            receive_all(targets[i], payload, LEN);
            assert_int_equal(payload[0], i);
            assert_int_equal(payload[LEN - 1], i);
            send_all(targets[i], payload, LEN);
        }
        for (size_t got = 0; got < (size_t)STREAMS * LEN;) {
            assert_true(scripted_receive(t->s, &frame));
            if (frame.header.type == FRAME_WINDOW)
                continue;
            assert_int_equal(frame.header.type, FRAME_DATA);
            for (uint32_t i = 0; i < frame.header.length; i++)
                assert_int_equal(frame.payload[i], frame.header.stream / 2);
            got += frame.header.length;
            back[frame.header.stream / 2] += frame.header.length;
        }
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        assert_int_equal(back[i], ROUNDS * LEN);
        close(targets[i]);
    }
    assert_true(scripted_bye(t->s) && scripted_expect_close(t->s));
    struct fixture_event event = fixture_event(t->f, "session.ended", 1);
    assert_int_equal(event.bytes_in, STREAMS * ROUNDS * LEN);
    assert_int_equal(event.bytes_out, STREAMS * ROUNDS * LEN);
    assert_string_equal(event.detail, "the client ended it");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, session_setup, session_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(forbidden_targets_are_refused_and_the_session_lives),
        TEST(names_that_lead_to_forbidden_addresses),
        TEST(unreachable_targets),
        TEST(even_and_reused_numbers_end_the_session),
        cmocka_unit_test(streams_are_bounded),
        TEST(data_over_the_credit_ends_the_session),
        TEST(empty_data_ends_the_session),
        TEST(data_for_streams_that_never_were_ends_the_session),
        TEST(data_after_close_ends_the_session),
        TEST(credit_that_overflows_ends_the_session),
        TEST(handshake_frames_in_the_session_end_it),
        TEST(frames_for_ended_streams_are_ignored),
        TEST(targets_are_read_within_the_credit),
        TEST(a_target_that_finishes_can_still_be_written_to),
        TEST(a_client_that_finishes_can_still_read),
        TEST(a_target_that_breaks_resets_the_stream),
        TEST(a_client_that_goes_closes_its_targets),
        TEST(what_waits_for_a_slow_target_arrives_before_the_close),
        TEST(slow_targets_hold_their_client_back),
        TEST(many_streams_do_not_mix),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
