/* Shields on tokens in a whole instance, and a charger that is killed at every point of a fill, on either
 * kind of shield: what the shield holds and what the key store takes for usable stay the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "tests/integration/harness.h"
#include "tests/softhsm/softhsm.h"

enum { KILLED = 128 + 9, CALLS_MAX = 60 };

static struct instance *bank;
static bool tokens; /* SoftHSM is here */
static char wrong_pin[192];

static int setup(void **state)
{
    (void)state;
    bank = instance_new("ipc");
    instance_start(bank);
    part_start(bank, PART_WEB);
    secret_line(bank, "token.pin", SOFTHSM_PIN "\n");
    snprintf(wrong_pin, sizeof wrong_pin, "%s", secret_line(bank, "wrong.pin", "999999\n"));
    if (tokens)
        softhsm_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    if (tokens)
        softhsm_stop();
    return 0;
}

/* A shield by its id: where it is, and what opens it. */
struct place {
    const char *id;
    bool token;
    char name[192];
};

static struct place place_of(const char *id, bool token)
{
    struct place place = {.id = id, .token = token};
    snprintf(place.name, sizeof place.name, "%s", token ? "" : instance_path(bank, "shields/%s", id));
    if (token)
        snprintf(place.name, sizeof place.name, "pkcs11:token=%s?module-path=%s", id,
                 softhsm_faulty_module());
    return place;
}

static struct place new_place(const char *id, bool token)
{
    RESULT added = TGCTL(bank, "shield", "add", id, "--owner", "alice");
    assert_int_equal(added.code, 0);
    if (token)
        softhsm_add_token(id);
    return place_of(id, token);
}

static const char *pin_of(const struct place *place)
{
    return instance_path(bank, "secrets/%s", place->token ? "token.pin" : "alice.pin");
}

static struct result charge_place(const struct place *place, const char *count)
{
    return RUN(bank, program("tg-charger"), "--config", instance_path(bank, "config/tg-charger.yaml"),
               "--shield", place->name, "--shield-id", place->id, "--user", "alice", "--count", count,
               "--password-file", instance_path(bank, "secrets/alice.password"), "--pin-file", pin_of(place));
}

static void must_charge(const struct place *place, const char *count)
{
    RESULT charged = charge_place(place, count);
    if (charged.code != EXIT_OK)
        fail_msg("charger: %d: %s", charged.code, charged.err);
}

static struct result log_in(const struct place *place, const char *option, const char *value)
{
    return LOGIN(bank, "alice", place->id, "--shield", place->name, "--pin-file", pin_of(place), option,
                 value);
}

static json_int_t number_in(const char *text, const char *key)
{
    json_t *object = json_loads(text, 0, NULL);
    json_int_t number = json_integer_value(json_object_get(object, key));
    assert_non_null(json_object_get(object, key));
    json_decref(object);
    return number;
}

static json_int_t ready_on(const struct place *place)
{
    RESULT status = RUN(bank, program("ticketgate"), "shield", "status", "--shield", place->name,
                        "--pin-file", pin_of(place), "--json");
    if (status.code != EXIT_OK)
        fail_msg("status: %d: %s", status.code, status.err);
    return number_in(status.out, "ready");
}

/* What the key store takes for usable on this shield. */
static json_int_t ready_at_store(const struct place *place)
{
    RESULT listed = TGCTL(bank, "shield", "list", "--json");
    json_int_t ready = -1;
    char *rest = listed.out, *line;
    assert_int_equal(listed.code, 0);
    while ((line = strsep(&rest, "\n")) != NULL) {
        json_t *row = json_loads(line, 0, NULL);
        const char *id = json_string_value(json_object_get(row, "shield_id"));
        if (id != NULL && strcmp(id, place->id) == 0)
            ready = json_integer_value(json_object_get(row, "ready"));
        json_decref(row);
    }
    assert_true(ready >= 0);
    return ready;
}

static void a_token_opens_the_gate_once_a_key(void **state)
{
    (void)state;
    if (!tokens)
        skip();
    struct place place = new_place("token-1", true);
    must_charge(&place, "3");
    assert_int_equal(ready_on(&place), 3);
    assert_int_equal(ready_at_store(&place), 3);
    for (json_int_t left = 2; left >= 0; left--) {
        RESULT in = log_in(&place, "--low-water", "1");
        assert_logged_in(bank, &in);
        assert_int_equal(strstr(in.err, "0 keys left on the shield: have it filled") != NULL, left == 0);
        assert_int_equal(ready_on(&place), left);
        assert_int_equal(ready_at_store(&place), left);
    }
    RESULT empty = log_in(&place, "--low-water", "1");
    assert_refused(bank, &empty, EXIT_SHIELD_EMPTY);
}

/* What is wrong on our side costs no key. */
static void each_failure_has_its_exit_code(void **state)
{
    (void)state;
    if (!tokens)
        skip();
    struct place place = new_place("token-2", true), nobody = place_of("token-99", true);
    must_charge(&place, "2");
    RESULT wrong = log_in(&place, "--pin-file", wrong_pin);
    assert_refused(bank, &wrong, EXIT_WRONG_PIN);
    setenv("TG_TEST_TOKEN_FLAGS", "0x40000", 1); /* CKF_USER_PIN_LOCKED */
    RESULT locked = log_in(&place, "--pin-file", wrong_pin);
    unsetenv("TG_TEST_TOKEN_FLAGS");
    assert_refused(bank, &locked, EXIT_PIN_LOCKED);
    RESULT absent = log_in(&nobody, "--low-water", "1");
    assert_refused(bank, &absent, EXIT_NO_INPUT);
    RESULT suite = log_in(&place, "--suite", "SM4-CTR-HMAC-SM3");
    assert_refused(bank, &suite, EXIT_CONFIG);
    softhsm_fault("C_Sign", 1, "pulled");
    RESULT pulled = log_in(&place, "--low-water", "1");
    softhsm_fault(NULL, 0, NULL);
    assert_refused(bank, &pulled, EXIT_TRY_LATER);
    assert_int_equal(ready_on(&place), 2);
    RESULT in = log_in(&place, "--low-water", "1");
    assert_logged_in(bank, &in);
}

/* A session in the background, with a forward that is open. */
static void start_session(const struct place *place, struct process *client, int port, const char *when)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    char forward[64];
    size_t count = login_arguments(bank, "alice", place->id, argv);
    snprintf(forward, sizeof forward, "%d:127.0.0.1:%d", port, bank->web_port);
    const char *const more[] = {"--shield", place->name, "--pin-file", pin_of(place), "--when-shield-pulled",
                                when,       "-L",        forward};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        argv[count++] = more[i];
    run_start(bank, client, NULL, argv);
    process_await_port(client, port, LOGIN_TIMEOUT_MS);
}

static void assert_ends_as_pulled(struct process *client)
{
    RESULT ended = run_end(bank, client, LOGIN_TIMEOUT_MS);
    if (ended.code != EXIT_SHIELD_PULLED || strstr(ended.err, "the shield was pulled") == NULL)
        fail_msg("%d: %s", ended.code, ended.err);
}

static void a_session_ends_when_its_shield_is_pulled(void **state)
{
    (void)state;
    struct place place = new_place("file-2", false);
    struct process client = {0}, stays = {0};
    char away[256];
    snprintf(away, sizeof away, "%s-away", place.name);
    must_charge(&place, "3");
    start_session(&place, &stays, bank->local_ports[1], "stay");
    start_session(&place, &client, bank->local_ports[0], "end");
    assert_int_equal(ready_on(&place), 1); /* a session does not hold the lock */
    assert_int_equal(rename(place.name, away), 0);
    assert_ends_as_pulled(&client);
    RESULT sessions = TGCTL(bank, "session", "list"); /* long enough for the other to look, if it did */
    assert_int_equal(sessions.code, 0);
    process_await_port(&stays, bank->local_ports[1], LOGIN_TIMEOUT_MS);
    assert_int_equal(process_stop(&stays, LOGIN_TIMEOUT_MS), EXIT_OK);
}

static void a_session_ends_when_its_token_is_pulled(void **state)
{
    (void)state;
    if (!tokens)
        skip();
    struct place place = new_place("token-4", true);
    struct process client = {0};
    must_charge(&place, "1");
    softhsm_fault("C_GetSlotInfo", 3, "pulled"); /* the first finds it, the others watch it */
    start_session(&place, &client, bank->local_ports[0], "end");
    softhsm_fault(NULL, 0, NULL);
    assert_ends_as_pulled(&client);
}

static void assert_settles(const struct place *place, const char *call, unsigned n)
{
    must_charge(place, "1");
    json_int_t here = ready_on(place), there = ready_at_store(place);
    if (here != there || here < 1)
        fail_msg("killed at %s %u: %lld keys on the shield, %lld at the key store", call, n, here, there);
}

static void a_charger_killed_at_any_write_to_a_token(void **state)
{
    (void)state;
    if (!tokens)
        skip();
    static const char *const calls[] = {"C_CreateObject", "C_DestroyObject"};
    static const char *const actions[] = {"kill", "killed"};
    struct place place = new_place("token-3", true);
    for (size_t i = 0; i < 4; i++) {
        int code = KILLED;
        for (unsigned n = 1; code == KILLED; n++) {
            softhsm_fault(calls[i / 2], n, actions[i % 2]);
            RESULT charged = charge_place(&place, "2");
            softhsm_fault(NULL, 0, NULL);
            code = charged.code;
            assert_true(code == KILLED || code == EXIT_OK);
            assert_true(n > 1 || code == KILLED); /* it was killed at all */
            assert_settles(&place, calls[i / 2], n);
        }
    }
    RESULT in = log_in(&place, "--low-water", "1");
    assert_logged_in(bank, &in);
}

/* The number of calls is found by counting: the round in which it comes to its end is the last. */
static void a_charger_killed_at_any_call_to_the_disk(void **state)
{
    (void)state;
    struct place place = new_place("file-1", false);
    int code = KILLED;
    must_charge(&place, "1");
    for (unsigned n = 1; code == KILLED; n++) {
        char fault[64];
        snprintf(fault, sizeof fault, "any %u kill", n);
        setenv("TG_TEST_DISK_FAULT", fault, 1);
        setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1); /* what is preloaded comes before it */
        setenv("LD_PRELOAD", TG_FAULTY_DISK, 1);
        RESULT charged = charge_place(&place, "2");
        unsetenv("LD_PRELOAD");
        unsetenv("ASAN_OPTIONS");
        unsetenv("TG_TEST_DISK_FAULT");
        code = charged.code;
        if (code != KILLED && (code != EXIT_OK || n < 10))
            fail_msg("call %u: %d: %s", n, code, charged.err);
        assert_true(n < CALLS_MAX);
        assert_settles(&place, "any", n);
    }
    RESULT in = log_in(&place, "--low-water", "1");
    assert_logged_in(bank, &in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_charger_killed_at_any_call_to_the_disk),
        cmocka_unit_test(a_token_opens_the_gate_once_a_key),
        cmocka_unit_test(each_failure_has_its_exit_code),
        cmocka_unit_test(a_session_ends_when_its_shield_is_pulled),
        cmocka_unit_test(a_session_ends_when_its_token_is_pulled),
        cmocka_unit_test(a_charger_killed_at_any_write_to_a_token),
    };
    tokens = softhsm_installed(); /* without: those tests are shown as skipped */
    return cmocka_run_group_tests(tests, setup, teardown);
}
