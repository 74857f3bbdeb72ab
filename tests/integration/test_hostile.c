/* Strangers at the gateway of a whole instance: each costs one connection, its own; a real user gets in all
 * the while, and the audit log tells what happened. tests/unit/gateway has the finer cases, with scripted
 * peers behind the gateway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "common/file.h"
#include "common/trace.h"
#include "tests/integration/harness.h"
#include "tests/integration/scripted_client.h"

enum { HALF_OPEN_MAX = 12, KEYS = 30 };

static struct instance *bank;
static struct shield *shield; /* with keys of the real key store */
static char password[64];

static void open_shield(void)
{
    struct secret *pin = NULL;
    struct tg_error err;

    assert_int_equal(file_read_line_secret(instance_path(bank, "secrets/alice.pin"), &pin, &err), TG_OK);
    assert_int_equal(shield_file_open(instance_path(bank, "shields/scripted"), pin, &shield, &err), TG_OK);
    secret_free(pin);
}

static int setup(void **state)
{
    char number[16];
    char *text;

    (void)state;
    bank = instance_new("ipc");
    snprintf(number, sizeof(number), "%d", HALF_OPEN_MAX);
    instance_set(bank, "gateway", "half_open_max", number);
    instance_set(bank, "gateway", "half_open_per_source", number);
    instance_set(bank, "gateway", "handshake_timeout", "2s");
    instance_set(bank, "gateway", "login_timeout", "3s");
    instance_start(bank);
    part_start(bank, PART_WEB);
    shield_fill(bank, "scripted", "alice", "alice", KEYS);
    shield_fill(bank, "real", "alice", "alice", KEYS);
    open_shield();
    text = file_text(instance_path(bank, "secrets/alice.password"));
    snprintf(password, sizeof(password), "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shield_close(shield);
    instance_end(bank);
    return 0;
}

static struct scripted *stranger(void)
{
    char address[32];
    struct scripted *s;

    snprintf(address, sizeof(address), "127.0.0.1:%d", bank->gateway_port);
    s = scripted_connect(address, NULL);
    assert_non_null(s);
    return s;
}

static struct shield_key *take(struct shield *from, uint64_t now_s)
{
    struct shield_key *key = NULL;
    struct tg_error err;

    if (shield_take(from, now_s, &key, &err) != TG_OK)
        fail_msg("%s", err.text);
    return key;
}

/* Goes on to `stage` as alice with a key of hers. */
static struct scripted *stranger_at(enum scripted_stage stage, const struct scripted_faults *faults)
{
    struct scripted *s = stranger();
    struct shield_key *key = take(shield, (uint64_t)time(NULL));

    if (faults != NULL)
        *scripted_faults(s) = *faults;
    if (!scripted_until(s, stage, key, "alice", password))
        fail_msg("the scripted client did not get that far: %s", scripted_problem(s));
    shield_key_free(key);
    return s;
}

/* The offender is refused or cut off, and a real user still gets in. */
static void assert_only_the_offender_suffers(struct scripted *s)
{
    if (!scripted_expect_close(s)) {
        bank->failed = true;
        fail_msg("the gateway did not close: %s", scripted_problem(s));
    }
    scripted_close(s);
    RESULT result = LOGIN(bank, "alice", "real");
    assert_logged_in(bank, &result);
}

/* Waits until an event's count has grown; the gateway reports some without waiting. */
static void assert_reported(const char *event, size_t before)
{
    uint64_t deadline = clock_now_ms() + LOGIN_TIMEOUT_MS;

    while (audit_count(bank, event) <= before) {
        if (clock_now_ms() > deadline) {
            bank->failed = true;
            fail_msg("the audit log tells of no %s", event);
        }
    }
}

static void test_altered_encrypted_random(void **state)
{
    const struct scripted_faults faults = {.other_digest_bit = true};
    size_t before = audit_count(bank, "handshake.refused");

    (void)state;
    assert_only_the_offender_suffers(stranger_at(SCRIPTED_AUTHENTICATE, &faults));
    assert_reported("handshake.refused", before);
}

static void test_client_random_that_was_not_committed_to(void **state)
{
    const struct scripted_faults faults = {.other_random = true};
    size_t before = audit_count(bank, "login.refused");

    (void)state;
    assert_only_the_offender_suffers(stranger_at(SCRIPTED_LOGIN, &faults));
    assert_reported("login.refused", before);
}

static void test_altered_login_info(void **state)
{
    const struct scripted_faults faults = {.other_login_bit = true};

    (void)state;
    assert_only_the_offender_suffers(stranger_at(SCRIPTED_LOGIN, &faults));
}

static void test_plain_login_info(void **state)
{
    const struct scripted_faults faults = {.plain = true};

    (void)state;
    assert_only_the_offender_suffers(stranger_at(SCRIPTED_LOGIN, &faults));
}

static void test_channel_with_another_key(void **state)
{
    const struct scripted_faults faults = {.other_psk = true};
    struct scripted *s = stranger_at(SCRIPTED_AUTHENTICATED, &faults);

    (void)state;
    assert_false(scripted_channel(s));
    assert_only_the_offender_suffers(s);
}

/* An expired ticket with a true MAC: the resolver refuses it before the key store is asked. */
static void test_expired_ticket(void **state)
{
    struct ticket ticket = {.centre = {'C', 'E', 'N', 'T', 'R', 'E', '0', '1'}, .expires_s = 1700000000};
    struct secret *ticket_key = NULL;
    struct secret *key = secret_random(32);
    struct shield *forged = NULL;
    uint8_t bytes[TICKET_LEN];
    const struct shield_entry entry = {.ticket = bytes, .key = key};
    struct tg_error err;

    (void)state;
    ticket_new_key_id(ticket.key_id);
    assert_int_equal(
        file_read_secret(instance_path(bank, "secrets/ticket.key"), TICKET_KEY_LEN, &ticket_key, &err),
        TG_OK);
    ticket_encode(&ticket, ticket_key, bytes);
    assert_int_equal(shield_memory_open("forged", &forged, &err), TG_OK);
    assert_int_equal(shield_add(forged, &entry, 1, &err), TG_OK);
    struct shield_key *expired =
        take(forged, ticket.expires_s - 100); /* before the shield's own clock strikes */
    struct scripted *s = stranger();
    size_t before = audit_count(bank, "handshake.refused");
    assert_true(scripted_until(s, SCRIPTED_AUTHENTICATE, expired, "alice", password));
    assert_only_the_offender_suffers(s);
    assert_reported("handshake.refused", before);
    shield_key_free(expired);
    shield_close(forged);
    secret_free(key);
    secret_free(ticket_key);
}

static void test_frames_out_of_order(void **state)
{
    static const enum frame_type early[] = {FRAME_AUTHENTICATE, FRAME_LOGIN, FRAME_ANSWER, FRAME_BYE,
                                            FRAME_PING};

    (void)state;
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
        struct scripted *s = stranger();

        assert_true(scripted_tls(s));
        assert_true(scripted_send(s, early[i], 0, "", 0));
        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    struct scripted *s = stranger_at(SCRIPTED_IDENTITY, NULL);
    assert_true(scripted_hello(s)); /* a second one */
    assert_only_the_offender_suffers(s);
}

static void test_frame_too_long(void **state)
{
    const struct frame_header header = {.type = FRAME_HELLO, .length = FRAME_MAX_BEFORE_LOGIN};
    uint8_t bytes[FRAME_HEADER_LEN];
    struct scripted *s = stranger();

    (void)state;
    frame_encode(&header, bytes);
    assert_true(scripted_tls(s));
    assert_true(scripted_send_bytes(s, bytes, sizeof(bytes)));
    assert_only_the_offender_suffers(s);
}

static void test_frame_cut_off(void **state)
{
    const struct frame_header header = {.type = FRAME_HELLO, .length = 100};
    uint8_t bytes[FRAME_HEADER_LEN + 10] = {0};
    struct scripted *s = stranger();

    (void)state;
    frame_encode(&header, bytes);
    assert_true(scripted_tls(s));
    assert_true(scripted_send_bytes(s, bytes, sizeof(bytes)));
    scripted_close(s);
    RESULT result = LOGIN(bank, "alice", "real");
    assert_logged_in(bank, &result);
}

/* The gateway's deadline, not ours, ends these. */
static void test_steps_never_finished(void **state)
{
    static const enum scripted_stage stages[] = {SCRIPTED_TLS, SCRIPTED_IDENTITY, SCRIPTED_AUTHENTICATED,
                                                 SCRIPTED_CHANNEL};
    struct scripted *silent = stranger(); /* not even a ClientHello */

    (void)state;
    assert_true(scripted_expect_close(silent));
    scripted_close(silent);
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        struct scripted *s = stranger_at(stages[i], NULL);

        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    RESULT result = LOGIN(bank, "alice", "real");
    assert_logged_in(bank, &result);
}

static void test_garbage_before_tls(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.0\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\xff\xff",
                                        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\r\n\r\n\r\n\r\n"};
    uint8_t noise[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct scripted *s = stranger();

        assert_true(scripted_send_raw(s, texts[i], strlen(texts[i])));
        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    random_bytes(noise, sizeof(noise));
    struct scripted *s = stranger();
    (void)scripted_send_raw(s, noise, sizeof(noise)); /* it may be cut off while it is still talking */
    assert_only_the_offender_suffers(s);
}

static void test_garbage_inside_tls(void **state)
{
    uint8_t noise[4096];

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct scripted *s = stranger();

        random_bytes(noise, sizeof(noise));
        assert_true(scripted_tls(s));
        (void)scripted_send_bytes(s, noise, sizeof(noise));
        assert_true(scripted_expect_close(s));
        scripted_close(s);
    }
    struct scripted *s = stranger_at(SCRIPTED_AUTHENTICATED, NULL);
    random_bytes(noise, sizeof(noise));
    (void)scripted_send_raw(s, noise, sizeof(noise)); /* in place of the second TLS handshake */
    assert_only_the_offender_suffers(s);
}

/* Above the bound a connection is closed at once; below it again, all is well. */
static void test_half_open_connections_above_the_bound(void **state)
{
    struct scripted *idle[HALF_OPEN_MAX + 4] = {NULL};

    (void)state;
    for (size_t i = 0; i < HALF_OPEN_MAX + 4; i++)
        idle[i] = stranger();
    for (size_t i = HALF_OPEN_MAX; i < HALF_OPEN_MAX + 4; i++)
        assert_true(scripted_expect_close(idle[i]));
    for (size_t i = 0; i < HALF_OPEN_MAX + 4; i++)
        scripted_close(idle[i]);
    for (int tries = 0;; tries++) { /* the gateway has to notice that they are gone */
        RESULT result = LOGIN(bank, "alice", "real");

        if (result.code == EXIT_OK)
            break;
        if (tries == 5)
            assert_logged_in(bank, &result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered_encrypted_random),
        cmocka_unit_test(test_client_random_that_was_not_committed_to),
        cmocka_unit_test(test_altered_login_info),
        cmocka_unit_test(test_plain_login_info),
        cmocka_unit_test(test_channel_with_another_key),
        cmocka_unit_test(test_expired_ticket),
        cmocka_unit_test(test_frames_out_of_order),
        cmocka_unit_test(test_frame_too_long),
        cmocka_unit_test(test_frame_cut_off),
        cmocka_unit_test(test_steps_never_finished),
        cmocka_unit_test(test_garbage_before_tls),
        cmocka_unit_test(test_garbage_inside_tls),
        cmocka_unit_test(test_half_open_connections_above_the_bound),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
