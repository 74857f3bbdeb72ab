/* What strangers may send: garbage, frames out of order, too long, cut off, never finished; more connections
 * than there is room for. Each closes one connection, and nobody else notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/gateway/admission.h"
#include "services/gateway/terms.h"
#include "tests/unit/gateway/fixture.h"

static void expect_login(struct fixture *f)
{
    scripted_close(fixture_client(f, SCRIPTED_WELCOME, NULL));
}

/* What the first TLS read ahead would be lost to the channel that follows it (docs/protocol.md). */
static void the_first_tls_does_not_read_ahead(void **state)
{
    struct fixture *f = *state;
    struct terms *terms = gateway_terms(f->gateway);
    assert_int_equal(SSL_CTX_get_read_ahead(terms->tls), 0);
    terms_release(terms);
}

static void garbage_before_tls(void **state)
{
    struct fixture *f = *state;
    static const char *const pieces[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff garbage",
                                         "\x80\x80"};
    for (size_t i = 0; i < 3; i++) {
        struct scripted *s = fixture_connect(f, NULL);
        assert_true(scripted_send_raw(s, pieces[i], strlen(pieces[i])));
        shutdown(scripted_fd(s), SHUT_WR);
        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    expect_login(f);
    assert_true(fixture_event_count(f, "handshake.refused") >= 1);
}

static void garbage_below_tls(void **state)
{
    struct fixture *f = *state;
    const enum scripted_stage stages[] = {SCRIPTED_TLS, SCRIPTED_IDENTITY, SCRIPTED_AUTHENTICATED,
                                          SCRIPTED_CHANNEL, SCRIPTED_WELCOME};
    uint8_t garbage[100];
    memset(garbage, 0x17, sizeof garbage);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        struct scripted *s = fixture_client(f, stages[i], NULL);
        assert_true(scripted_send_raw(s, garbage, sizeof garbage));
        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    expect_login(f);
}

static void garbage_within_tls(void **state)
{
    struct fixture *f = *state;
    const enum scripted_stage stages[] = {SCRIPTED_TLS, SCRIPTED_IDENTITY, SCRIPTED_CHANNEL};
    uint8_t garbage[100];
    memset(garbage, 0xee, sizeof garbage);
    for (size_t i = 0; i < 3; i++) {
        struct scripted *s = fixture_client(f, stages[i], NULL);
        assert_true(scripted_send_bytes(s, garbage, sizeof garbage));
        assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
        scripted_close(s);
    }
    expect_login(f);
}

/* Every type of frame in every state in which a client has the word: the legal ones alone may pass the table,
 * and those fail on their empty payload. */
static void frames_out_of_order(void **state)
{
    struct fixture *f = *state;
    const enum scripted_stage stages[] = {SCRIPTED_TLS, SCRIPTED_IDENTITY, SCRIPTED_CHANNEL};
    size_t refused = 0;
    for (size_t i = 0; i < 3; i++)
        for (unsigned type = 0; type <= FRAME_RESUME + 1; type++) {
            struct scripted *s = fixture_client(f, stages[i], NULL);
            uint32_t stream = type >= FRAME_OPEN && type <= FRAME_CLOSE ? 1 : 0;
            assert_true(scripted_send(s, type, stream, NULL, 0));
            assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
            scripted_close(s);
            refused++;
        }
    fixture_event(f, "handshake.refused", 2 * refused / 3);
    fixture_event(f, "login.refused", refused / 3);
    assert_int_equal(fixture_event_count(f, "login.accepted"), 0);
}

static void frames_too_long(void **state)
{
    struct fixture *f = *state;
    const struct frame_header header = {.type = FRAME_HELLO,
                                        .length = FRAME_MAX_BEFORE_LOGIN - FRAME_HEADER_LEN + 1};
    uint8_t bytes[FRAME_HEADER_LEN];
    frame_encode(&header, bytes);
    struct scripted *s = fixture_client(f, SCRIPTED_TLS, NULL);
    assert_true(scripted_send_bytes(s, bytes, sizeof bytes)); /* the header alone is enough */
    assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
    scripted_close(s);
}

/* HELLO in single bytes is slow, but right; and one that is cut off is no reason to wait for ever. */
static void frames_in_pieces(void **state)
{
    struct fixture *f = fixture_new("handshake_timeout: 1s");
    (void)state;
    uint8_t hello[] = {FRAME_HELLO, 0,  0, 44, 0, 0, 0, 0, 0x0a, 1, 1, 0x12, 1, 1, 0x1a, 2, 'x', 'y',
                       0x22,        32, 0, 0,  0, 0, 0, 0, 0,    0, 0, 0,    0, 0, 0,    0, 0,   0,
                       0,           0,  0, 0,  0, 0, 0, 0, 0,    0, 0, 0,    0, 0, 0,    0};
    struct scripted_frame frame;
    struct scripted *s = fixture_client(f, SCRIPTED_TLS, NULL);
    for (size_t i = 0; i < sizeof hello; i++)
        assert_true(scripted_send_bytes(s, &hello[i], 1));
    assert_true(scripted_expect(s, FRAME_IDENTITY, &frame));
    scripted_close(s);
    s = fixture_client(f, SCRIPTED_TLS, NULL);
    assert_true(scripted_send_bytes(s, hello, sizeof hello - 1));
    assert_int_equal(scripted_expect_refused(s), TG_DEADLINE_EXCEEDED);
    scripted_close(s);
    fixture_free(f);
}

static void every_state_has_its_deadline(void **state)
{
    struct fixture *f = fixture_new("handshake_timeout: 300ms\nlogin_timeout: 300ms");
    (void)state;
    struct scripted *s = fixture_connect(f, NULL); /* says nothing at all */
    assert_true(scripted_expect_close(s));
    scripted_close(s);
    const enum scripted_stage stages[] = {SCRIPTED_TLS, SCRIPTED_IDENTITY, SCRIPTED_CHANNEL};
    for (size_t i = 0; i < 3; i++) {
        s = fixture_client(f, stages[i], NULL);
        assert_int_equal(scripted_expect_refused(s), TG_DEADLINE_EXCEEDED);
        scripted_close(s);
    }
    s = fixture_client(f, SCRIPTED_AUTHENTICATED, NULL); /* never begins the channel */
    assert_true(scripted_expect_close(s));
    scripted_close(s);
    fixture_event(f, "handshake.refused", 4);
    fixture_event(f, "login.refused", 1);
    fixture_free(f);
}

static void fields_of_wrong_length(void **state)
{
    struct fixture *f = *state;
    Tg__Hello hello = TG__HELLO__INIT;
    struct scripted *s = fixture_client(f, SCRIPTED_TLS, NULL);
    assert_true(scripted_send_message(s, FRAME_HELLO, 0, &hello.base)); /* no nonce */
    assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
    scripted_close(s);
    Tg__Authenticate authenticate = TG__AUTHENTICATE__INIT;
    uint8_t ticket[TICKET_LEN] = {0};
    authenticate.ticket.data = ticket;
    for (size_t len = TICKET_LEN - 1; len <= TICKET_LEN; len++) { /* a short ticket; no encrypted random */
        authenticate.ticket.len = len;
        s = fixture_client(f, SCRIPTED_IDENTITY, NULL);
        assert_true(scripted_send_message(s, FRAME_AUTHENTICATE, 0, &authenticate.base));
        assert_int_equal(scripted_expect_refused(s), TG_INVALID_ARGUMENT);
        scripted_close(s);
    }
}

/* ---- half-open connections ---- */

enum { FLOOD = 40 };

static void one_source_cannot_take_all_places(void **state)
{
    struct fixture *f = fixture_new("half_open_max: 30\nhalf_open_per_source: 10");
    struct scripted *flood[FLOOD];
    (void)state;
    for (size_t i = 0; i < FLOOD; i++)
        flood[i] = fixture_connect(f, "127.0.0.2");
    while (admission_counts(f->gateway->admission).turned_away < FLOOD - 10)
        usleep(1000);
    assert_int_equal(admission_counts(f->gateway->admission).half_open, 10);
    expect_login(f); /* from 127.0.0.1 */
    for (size_t i = 0; i < FLOOD; i++)
        scripted_close(flood[i]);
    fixture_free(f);
}

static void all_places_are_bounded(void **state)
{
    struct fixture *f = fixture_new("half_open_max: 20\nhalf_open_per_source: 10");
    struct scripted *flood[FLOOD];
    char from[32];
    (void)state;
    for (size_t i = 0; i < FLOOD; i++) {
        snprintf(from, sizeof from, "127.0.1.%zu", 1 + i % 8);
        flood[i] = fixture_connect(f, from);
    }
    while (admission_counts(f->gateway->admission).turned_away < FLOOD - 20)
        usleep(1000);
    assert_int_equal(admission_counts(f->gateway->admission).half_open, 20);
    for (size_t i = 0; i < FLOOD; i++)
        scripted_close(flood[i]);
    while (admission_counts(f->gateway->admission).half_open > 0)
        usleep(1000);
    expect_login(f); /* places that were given back can be taken */
    fixture_free(f);
}

static void sessions_are_not_half_open(void **state)
{
    struct fixture *f = fixture_new("half_open_max: 1");
    struct scripted *clients[3];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        clients[i] = fixture_client(f, SCRIPTED_WELCOME, NULL);
    assert_int_equal(admission_counts(f->gateway->admission).half_open, 0);
    assert_int_equal(admission_counts(f->gateway->admission).sessions, 3);
    for (size_t i = 0; i < 3; i++)
        scripted_close(clients[i]);
    fixture_free(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_tls_does_not_read_ahead),
        TEST(garbage_before_tls),
        TEST(garbage_below_tls),
        TEST(garbage_within_tls),
        TEST(frames_out_of_order),
        TEST(frames_too_long),
        cmocka_unit_test(frames_in_pieces),
        cmocka_unit_test(every_state_has_its_deadline),
        TEST(fields_of_wrong_length),
        cmocka_unit_test(one_source_cannot_take_all_places),
        cmocka_unit_test(all_places_are_bounded),
        cmocka_unit_test(sessions_are_not_half_open),
    };
    return cmocka_run_group_tests_name("strangers", tests, NULL, NULL);
}
