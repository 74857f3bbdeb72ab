/* The shield on a token, on SoftHSM 2: no key is used twice, none is half there, whoever is killed when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pkcs11/shield.h"
#include "tests/softhsm/softhsm.h"
#include "tests/unit/common/shield_fixture.h"

enum { COUNT = 4, FAR = 2000000000 /* the charger's clock is the real one */ };

static struct fixture {
    struct secret *pin;
    struct entries e; /* in the order in which they are taken; the last one has expired at NOW */
} f;

static enum tg_code try_open(const char *uri, struct shield **shield, struct tg_error *err)
{
    const struct token_where where = {.uri = uri, .module = softhsm_faulty_module()};
    return shield_token_open(&where, f.pin, shield, err);
}

static struct shield *must_open(void)
{
    struct shield *shield = NULL;
    struct tg_error err;
    if (try_open("pkcs11:token=shield-17", &shield, &err) != TG_OK)
        fail_msg("%s", err.text);
    return shield;
}

static void must_add(struct shield *shield, size_t first, size_t count)
{
    struct tg_error err;
    if (shield_add(shield, f.e.list + first, count, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    (void)state;
    static const uint64_t expires[COUNT] = {FAR, FAR + 1, FAR + 2, FAR + 3};
    softhsm_start();
    softhsm_add_token("shield-17");
    f.pin = secret_copy(SOFTHSM_PIN, strlen(SOFTHSM_PIN));
    entries_init(&f.e, expires, COUNT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    entries_fini(&f.e);
    secret_free(f.pin);
    softhsm_stop();
    return 0;
}

static struct ticket ticket_at(size_t i)
{
    struct ticket t;
    assert_int_equal(ticket_peek(f.e.tickets[i], TICKET_LEN, &t, NULL), TG_OK);
    return t;
}

static bool has(struct shield *shield, size_t i)
{
    bool there = false;
    assert_int_equal(shield_has(shield, ticket_at(i).key_id, &there, NULL), TG_OK);
    return there;
}

static void a_token_that_is_no_shield_is_refused(void **state)
{
    (void)state;
    struct shield *shield = NULL;
    struct tg_error err;
    softhsm_add_token("my token");
    assert_int_equal(try_open("pkcs11:token=my%20token", &shield, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "shield id"));
    assert_int_equal(try_open("pkcs11:token=nobody", &shield, &err), TG_NOT_FOUND);
    assert_null(shield);
}

static void keys_are_taken_in_order_and_are_gone(void **state)
{
    (void)state;
    struct shield *shield = must_open();
    struct shield_key *key = NULL;
    struct shield_status status;
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_FAILED_PRECONDITION);
    must_add(shield, 1, 3);
    must_add(shield, 0, 1);
    assert_int_equal(shield_get_status(shield, FAR + 1, &status, NULL), TG_OK);
    assert_int_equal(status.ready, 2);
    assert_int_equal(status.expired, 2);
    assert_int_equal(status.next_expiry_s, FAR + 2);
    assert_string_equal(status.shield_id, "shield-17");
    shield_close(shield);
    for (size_t i = 0; i < COUNT; i++) {
        shield = must_open();
        assert_int_equal(ready(shield), COUNT - i);
        assert_next_is(shield, &f.e, i);
        shield_close(shield);
    }
    shield = must_open();
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_FAILED_PRECONDITION);
    assert_null(key);
    shield_close(shield);
}

/* Of keys that expire together the smallest key id comes first: the charger counts on it. */
static void keys_that_expire_together_go_by_id(void **state)
{
    (void)state;
    struct entries same;
    static const uint64_t expires[] = {FAR, FAR, FAR, FAR, FAR, FAR};
    uint8_t last[TICKET_KEY_ID_LEN] = {0};
    struct shield *shield = must_open();
    entries_init(&same, expires, 6);
    assert_int_equal(shield_add(shield, same.list, 6, NULL), TG_OK);
    for (size_t i = 0; i < 6; i++) {
        struct shield_key *key = NULL;
        struct secret *root = NULL;
        struct ticket ticket;
        assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_OK);
        assert_int_equal(ticket_peek(shield_key_ticket(key), TICKET_LEN, &ticket, NULL), TG_OK);
        assert_true(memcmp(last, ticket.key_id, sizeof last) < 0);
        memcpy(last, ticket.key_id, sizeof last);
        assert_int_equal(shield_derive(key, suite_find(1), "x", 1, &root, NULL), TG_OK);
        secret_free(root);
        shield_key_free(key);
    }
    entries_fini(&same);
    shield_close(shield);
}

static void only_suites_with_sha256_will_do(void **state)
{
    (void)state;
    struct shield *shield = must_open();
    struct shield_key *key = NULL;
    struct secret *root = NULL;
    must_add(shield, 0, 1);
    assert_true(shield_can(shield, suite_find(SUITE_AES256_GCM_SHA256)));
    assert_false(shield_can(shield, suite_find(SUITE_SM4_CTR_HMAC_SM3)));
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_OK);
    assert_int_equal(shield_derive(key, suite_find(SUITE_SM4_CTR_HMAC_SM3), "x", 1, &root, NULL),
                     TG_UNIMPLEMENTED);
    assert_null(root);
    shield_key_free(key);
    shield_close(shield);
}

static void one_derivation_a_key(void **state)
{
    (void)state;
    struct shield *shield = must_open();
    struct shield_key *key = NULL, *same = NULL;
    struct secret *root = NULL, *again = NULL;
    must_add(shield, 0, 1);
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_OK);
    assert_int_equal(shield_take(shield, NOW, &same, NULL), TG_OK); /* not used yet */
    assert_int_equal(shield_derive(key, suite_find(1), "x", 1, &root, NULL), TG_OK);
    assert_int_equal(shield_derive(key, suite_find(1), "y", 1, &again, NULL), TG_FAILED_PRECONDITION);
    assert_int_equal(shield_derive(same, suite_find(1), "y", 1, &again, NULL), TG_ABORTED);
    assert_null(again);
    secret_free(root);
    shield_key_free(key);
    shield_key_free(same);
    shield_close(shield);
}

/* A token that will not destroy the key: its answer is not used. */
static void without_destruction_no_root(void **state)
{
    (void)state;
    struct shield *shield = must_open();
    struct shield_key *key = NULL;
    struct secret *root = NULL;
    must_add(shield, 0, 1);
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_OK);
    softhsm_fault("C_DestroyObject", 1, "0xE2");
    assert_int_equal(shield_derive(key, suite_find(1), "x", 1, &root, NULL), TG_PERMISSION_DENIED);
    assert_null(root);
    shield_key_free(key);
    shield_close(shield);
}

static void strange_objects_are_left_alone(void **state)
{
    (void)state;
    struct token *token = NULL;
    token_object object = 0;
    struct secret *secret = secret_random(32);
    const struct token_where where = {.uri = "pkcs11:token=shield-17"};
    assert_int_equal(token_open(&where, f.pin, &token, NULL), TG_OK);
    assert_int_equal(token_add_key(token, &(struct token_name){.label = "vpn"}, secret, &object, NULL),
                     TG_OK);
    assert_int_equal(
        token_add_key(token, &(struct token_name){.id = "x", .id_len = 1}, secret, &object, NULL), TG_OK);
    token_close(token);
    struct shield *shield = must_open();
    assert_int_equal(ready(shield), 0);
    must_add(shield, 0, 1);
    assert_next_is(shield, &f.e, 0);
    shield_close(shield);
    assert_int_equal(token_open(&where, f.pin, &token, NULL), TG_OK);
    assert_int_equal(token_find_key(token, &(struct token_name){.label = "vpn"}, &object, NULL), TG_OK);
    token_close(token);
    secret_free(secret);
}

static void all_are_added_or_none(void **state)
{
    (void)state;
    static const struct {
        const char *action;
        enum tg_code code;
    } faults[] = {{"0x31", TG_RESOURCE_EXHAUSTED}, {"0xE2", TG_PERMISSION_DENIED}, {"0x5", TG_INTERNAL}};
    struct shield *shield = must_open();
    const struct shield_entry twice[] = {f.e.list[0], f.e.list[1], f.e.list[0]};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        softhsm_fault("C_CreateObject", 3, faults[i].action);
        assert_int_equal(shield_add(shield, f.e.list, COUNT, NULL), faults[i].code);
        assert_int_equal(ready(shield), 0);
    }
    assert_int_equal(shield_add(shield, twice, 3, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(ready(shield), 0);
    must_add(shield, 0, 1);
    assert_int_equal(shield_add(shield, f.e.list, COUNT, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(ready(shield), 1);
    shield_close(shield);
}

static void expired_ones_make_room(void **state)
{
    (void)state;
    struct entries old;
    static const uint64_t expires[] = {2000, 3000};
    struct shield *shield = must_open();
    struct shield_status status;
    entries_init(&old, expires, 2);
    assert_int_equal(shield_add(shield, old.list, 2, NULL), TG_OK);
    must_add(shield, 0, 1);
    assert_int_equal(shield_get_status(shield, 4000, &status, NULL), TG_OK);
    assert_int_equal(status.ready, 1);
    assert_int_equal(status.expired, 0);
    entries_fini(&old);
    shield_close(shield);
}

/* Pulled while it is filled: what got there can be told and taken back. */
static void what_is_left_of_a_pulled_fill_can_be_removed(void **state)
{
    (void)state;
    struct shield *shield = must_open();
    uint8_t ids[COUNT][TICKET_KEY_ID_LEN];
    for (size_t i = 0; i < COUNT; i++)
        memcpy(ids[i], ticket_at(i).key_id, sizeof ids[i]);
    softhsm_fault("C_CreateObject", 3, "pulled");
    assert_int_equal(shield_add(shield, f.e.list, COUNT, NULL), TG_UNAVAILABLE);
    shield_close(shield);
    softhsm_fault(NULL, 0, NULL);
    shield = must_open();
    assert_true(has(shield, 0) && has(shield, 1) && !has(shield, 2) && !has(shield, 3));
    assert_int_equal(shield_remove(shield, (const uint8_t(*)[TICKET_KEY_ID_LEN])ids, COUNT, NULL), TG_OK);
    assert_int_equal(ready(shield), 0);
    shield_close(shield);
}

static void a_note_stays_until_it_is_removed(void **state)
{
    (void)state;
    static uint8_t note[SHIELD_NOTE_MAX] = {1, 2, 3};
    uint8_t *out = NULL;
    size_t len = 1;
    struct shield *shield = must_open();
    assert_int_equal(shield_get_note(shield, &out, &len, NULL), TG_OK);
    assert_int_equal(len, 0);
    free(out);
    assert_int_equal(shield_put_note(shield, "old", 3, NULL), TG_OK);
    assert_int_equal(shield_put_note(shield, note, sizeof note, NULL), TG_OK);
    shield_close(shield);
    shield = must_open();
    assert_int_equal(shield_get_note(shield, &out, &len, NULL), TG_OK);
    assert_int_equal(len, sizeof note);
    assert_memory_equal(out, note, len);
    free(out);
    assert_int_equal(shield_put_note(shield, NULL, 0, NULL), TG_OK);
    assert_int_equal(shield_get_note(shield, &out, &len, NULL), TG_OK);
    assert_int_equal(len, 0);
    free(out);
    shield_close(shield);
}

/* ---- kill -9 ---- */

struct report {
    uint8_t ticket[TICKET_LEN], root[SUITE_HASH_LEN];
};

/* In a child that dies at the nth call to the token: takes a key and reports what it derived, or adds all. */
static int take_and_report(int out)
{
    struct shield *shield = NULL;
    struct shield_key *key = NULL;
    struct secret *root = NULL;
    struct report report;
    if (try_open("pkcs11:token=shield-17", &shield, NULL) != TG_OK || write(out, "", 1) != 1)
        return 1;
    while (shield_take(shield, NOW, &key, NULL) == TG_OK) {
        enum tg_code code = shield_derive(key, suite_find(1), "input", 5, &root, NULL);
        if (code != TG_OK && code != TG_ABORTED)
            return 2;
        memcpy(report.ticket, shield_key_ticket(key), TICKET_LEN);
        shield_key_free(key);
        if (code == TG_ABORTED)
            continue;
        memcpy(report.root, secret_view(root), sizeof report.root);
        secret_free(root);
        if (write(out, &report, sizeof report) != sizeof report)
            return 3;
    }
    return 0;
}

static int add_all(int out)
{
    struct shield *shield = NULL;
    if (try_open("pkcs11:token=shield-17", &shield, NULL) != TG_OK || write(out, "", 1) != 1)
        return 1;
    return shield_add(shield, f.e.list, COUNT, NULL) == TG_OK ? 0 : 2;
}

/* Answers the reading end of what it reports, after the one byte that says that the token is open. */
static int start(int (*act)(int out), pid_t *pid)
{
    int ends[2];
    char word;
    assert_int_equal(pipe(ends), 0);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        close(ends[0]);
        _exit(act(ends[1]));
    }
    close(ends[1]);
    ssize_t n = read(ends[0], &word, 1);
    assert_true(n == 0 || n == 1); /* 0: killed before */
    return ends[0];
}

/* True: it came to its end. False: it was killed. */
static bool finish(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

static size_t index_of(const uint8_t ticket[TICKET_LEN])
{
    for (size_t i = 0; i < COUNT; i++) {
        if (memcmp(f.e.tickets[i], ticket, TICKET_LEN) == 0)
            return i;
    }
    fail_msg("an unknown ticket");
    return COUNT;
}

/* What was reported is right, and counted. */
static void read_reports(int from, unsigned used[COUNT])
{
    struct report report;
    while (read(from, &report, sizeof report) == sizeof report) {
        size_t i = index_of(report.ticket);
        struct secret *want = suite_hmac(suite_find(1), f.e.keys[i], &(struct suite_part){"input", 5}, 1);
        assert_memory_equal(report.root, secret_view(want), sizeof report.root);
        secret_free(want);
        used[i]++;
    }
    close(from);
}

static void refill(void)
{
    struct shield *shield = must_open();
    uint8_t ids[COUNT][TICKET_KEY_ID_LEN];
    for (size_t i = 0; i < COUNT; i++)
        memcpy(ids[i], ticket_at(i).key_id, sizeof ids[i]);
    assert_int_equal(shield_remove(shield, (const uint8_t(*)[TICKET_KEY_ID_LEN])ids, COUNT, NULL), TG_OK);
    must_add(shield, 0, COUNT);
    shield_close(shield);
}

/* Killed before or after each single call to the token: a key whose root was seen is gone, no other is lost
 * but the one in hand. */
static void a_kill_at_any_call_uses_no_key_twice(void **state)
{
    (void)state;
    static const char *const actions[] = {"kill", "killed"};
    bool to_the_end = false;
    for (unsigned n = 1; !to_the_end; n += 1 + n / 24) { /* closely through the first take, then in steps */
        unsigned used[COUNT] = {0}, before = 0;
        pid_t pid;
        refill();
        softhsm_fault("any", n, actions[n % 2]);
        int from = start(take_and_report, &pid);
        to_the_end = finish(pid);
        softhsm_fault(NULL, 0, NULL);
        read_reports(from, used);
        struct shield *shield = must_open();
        for (size_t i = 0; i < COUNT; i++) {
            before += used[i];
            assert_true(used[i] <= 1);
            assert_false(used[i] == 1 && has(shield, i));
        }
        assert_true(ready(shield) + before == COUNT || ready(shield) + before == COUNT - 1);
        shield_close(shield);
    }
}

/* Killed before or after each single call: what is there are the first few, each whole; the last one only
 * with all others. */
static void a_kill_at_any_call_leaves_no_half_key(void **state)
{
    (void)state;
    static const char *const actions[] = {"kill", "killed"};
    bool to_the_end = false;
    uint8_t ids[COUNT][TICKET_KEY_ID_LEN];
    for (size_t i = 0; i < COUNT; i++)
        memcpy(ids[i], ticket_at(i).key_id, sizeof ids[i]);
    for (unsigned n = 1; !to_the_end; n++) {
        pid_t pid;
        softhsm_fault("any", n, actions[n % 2]);
        close(start(add_all, &pid));
        to_the_end = finish(pid);
        softhsm_fault(NULL, 0, NULL);
        struct shield *shield = must_open();
        size_t there = ready(shield);
        for (size_t i = 0; i < there; i++)
            assert_next_is(shield, &f.e, i);
        assert_true(to_the_end ? there == COUNT : there <= COUNT);
        shield_close(shield);
    }
}

/* Several programs at one token empty it together: each key is one's. */
static void several_programs_share_a_token(void **state)
{
    (void)state;
    enum { RIVALS = 3, ROUNDS = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        unsigned used[COUNT] = {0};
        pid_t pids[RIVALS];
        int from[RIVALS];
        refill();
        for (size_t i = 0; i < RIVALS; i++)
            from[i] = start(take_and_report, &pids[i]);
        for (size_t i = 0; i < RIVALS; i++)
            assert_true(finish(pids[i]));
        for (size_t i = 0; i < RIVALS; i++)
            read_reports(from[i], used);
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(used[i], 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_that_is_no_shield_is_refused),
        TEST(keys_are_taken_in_order_and_are_gone),
        TEST(keys_that_expire_together_go_by_id),
        TEST(only_suites_with_sha256_will_do),
        TEST(one_derivation_a_key),
        TEST(without_destruction_no_root),
        TEST(strange_objects_are_left_alone),
        TEST(all_are_added_or_none),
        TEST(expired_ones_make_room),
        TEST(what_is_left_of_a_pulled_fill_can_be_removed),
        TEST(a_note_stays_until_it_is_removed),
        TEST(a_kill_at_any_call_uses_no_key_twice),
        TEST(a_kill_at_any_call_leaves_no_half_key),
        TEST(several_programs_share_a_token),
    };
    return softhsm_installed() ? cmocka_run_group_tests(tests, NULL, NULL) : SOFTHSM_SKIPPED;
}
