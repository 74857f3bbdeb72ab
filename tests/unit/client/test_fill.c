/* Filling a shield against a scripted key store: whatever breaks off where, no key that is on the shield
 * stays unusable, and none is made usable that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/charger/fill.h"
#include "client/charger/pending.h"
#include "common/log.h"
#include "common/pb.h"
#include "common/ticket_info.h"
#include "proto/key_store.pb-c.h"

enum { FILLS_MAX = 16, ENTRIES_MAX = 16, ONCE = 1000 };

struct script { /* what the key store does wrong, and what it saw */
    pthread_mutex_t lock;
    enum tg_code fill_code, confirm_code;
    bool one_too_few, short_key, same_tickets, no_fill_id;
    unsigned fills, confirms;
    uint32_t counts[FILLS_MAX];
    uint8_t confirmed[FILLS_MAX]; /* fill ids are single bytes here: 1, 2, … */
    char user[64], shield_id[64];
    bool password_right;
};

struct bench {
    char dir[64], address[96];
    struct script script;
    struct rpc_server *server;
    struct rpc_client *client;
    struct shield *shield;
    struct secret *password;
    unsigned progressed, stop_after;
    uint32_t filled;
    struct tg_error err;
};

/* ---- the key store ---- */

static void on_fill(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct script *s = rpc_call_context(call);
    const Tg__FillRequest *request = (const Tg__FillRequest *)message;
    static const uint8_t key[QUANTUM_KEY_LEN] = "thirty-two bytes of quantum key";
    uint8_t tickets[ENTRIES_MAX][TICKET_LEN];
    Tg__FillEntry entries[ENTRIES_MAX], *list[ENTRIES_MAX];
    Tg__FillResponse response = TG__FILL_RESPONSE__INIT;
    struct secret *ticket_key = secret_random(TICKET_KEY_LEN);
    pthread_mutex_lock(&s->lock);
    if (s->fills < FILLS_MAX)
        s->counts[s->fills] = request->count;
    s->fills++;
    uint8_t fill_id = (uint8_t)s->fills;
    snprintf(s->user, sizeof s->user, "%s", request->user);
    snprintf(s->shield_id, sizeof s->shield_id, "%s", request->shield_id);
    s->password_right = request->password.len == 6 && memcmp(request->password.data, "secret", 6) == 0;
    for (size_t i = 0; i < request->count && i < ENTRIES_MAX; i++) {
        struct ticket ticket = {.centre = "CENTRE01", .expires_s = UINT64_C(4000000000)};
        if (!s->same_tickets)
            ticket_new_key_id(ticket.key_id);
        ticket_encode(&ticket, ticket_key, tickets[i]);
        tg__fill_entry__init(&entries[i]);
        entries[i].ticket = pb_bytes(tickets[i], TICKET_LEN);
        entries[i].key = pb_bytes(key, s->short_key ? 31 : sizeof key);
        list[i] = &entries[i];
    }
    response.fill_id = pb_bytes(&fill_id, s->no_fill_id ? 0 : 1);
    response.entries = list;
    response.n_entries = request->count - s->one_too_few;
    pthread_mutex_unlock(&s->lock);
    secret_free(ticket_key);
    if (s->fill_code != TG_OK)
        rpc_fail(call, s->fill_code, "the key store says no");
    else
        rpc_reply(call, &response.base);
}

static void on_confirm(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct script *s = rpc_call_context(call);
    const Tg__ConfirmFillRequest *request = (const Tg__ConfirmFillRequest *)message;
    Tg__ConfirmFillResponse response = TG__CONFIRM_FILL_RESPONSE__INIT;
    pthread_mutex_lock(&s->lock);
    enum tg_code code = request->fill_id.len == 1 ? s->confirm_code : TG_INVALID_ARGUMENT;
    if (code == TG_OK && s->confirms < FILLS_MAX)
        s->confirmed[s->confirms++] = request->fill_id.data[0];
    pthread_mutex_unlock(&s->lock);
    if (code != TG_OK)
        rpc_fail(call, code, "the key store says no");
    else
        rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    {&tg__key_store__descriptor, "Fill", RPC_ROLE_CHARGER, on_fill},
    {&tg__key_store__descriptor, "ConfirmFill", RPC_ROLE_CHARGER, on_confirm},
    {0},
};

static void server_open(struct bench *b)
{
    const struct rpc_listener listener = {.address = b->address, .role = 2 /* charger */};
    assert_string_equal(rpc_role_names[listener.role], "charger");
    assert_int_equal(rpc_server_open(&b->server, methods, &b->script, 4, NULL), TG_OK);
    assert_int_equal(rpc_server_listen(b->server, &listener, NULL), TG_OK);
}

/* ---- running it ---- */

static void bench_open(struct bench *b)
{
    *b = (struct bench){.stop_after = ONCE, .dir = "/tmp/tg-fill-XXXXXX"};
    pthread_mutex_init(&b->script.lock, NULL);
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->address, sizeof b->address, "ipc://%s/ks.sock", b->dir);
    server_open(b);
    char *endpoints[] = {b->address};
    const struct rpc_peer peer = {.endpoints = {.items = endpoints, .count = 1}};
    assert_int_equal(rpc_client_open(&b->client, "key store", &peer, NULL), TG_OK);
    assert_int_equal(shield_memory_open("shield-1", &b->shield, NULL), TG_OK);
    b->password = secret_copy("secret", 6);
}

static void bench_close(struct bench *b)
{
    char path[128];
    rpc_client_close(b->client);
    rpc_server_close(b->server);
    shield_close(b->shield);
    secret_free(b->password);
    snprintf(path, sizeof path, "%s/ks.sock", b->dir);
    unlink(path);
    assert_int_equal(rmdir(b->dir), 0);
    pthread_mutex_destroy(&b->script.lock);
}

static void progress(void *arg, uint32_t filled, uint32_t count)
{
    struct bench *b = arg;
    assert_true(filled <= count);
    b->progressed++;
}

static bool stop(void *arg)
{
    const struct bench *b = arg;
    return b->progressed >= b->stop_after;
}

static enum client_exit fill(struct bench *b, uint32_t count, uint32_t chunk)
{
    const struct fill_request request = {.key_store = b->client,
                                         .timeout_ms = 20000,
                                         .shield = b->shield,
                                         .shield_id = "shield-1",
                                         .user = "alice",
                                         .password = b->password,
                                         .count = count,
                                         .chunk = chunk,
                                         .progress = progress,
                                         .stop = stop,
                                         .arg = b};
    return fill_run(&request, &b->filled, &b->err);
}

static size_t keys_on_shield(struct bench *b)
{
    struct shield_status status;
    assert_int_equal(shield_get_status(b->shield, 1, &status, NULL), TG_OK);
    return status.ready;
}

static bool is_pending(const struct bench *b)
{
    struct pending pending;
    bool found = false;
    assert_int_equal(pending_read(b->shield, &pending, &found, NULL), TG_OK);
    return found;
}

static void bad_answers_leave_the_shield_alone(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.one_too_few = true}, {.short_key = true}, {.no_fill_id = true}};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        struct bench b;
        bench_open(&b);
        b.script.one_too_few = scripts[i].one_too_few;
        b.script.short_key = scripts[i].short_key;
        b.script.no_fill_id = scripts[i].no_fill_id;
        assert_int_equal(fill(&b, 3, 3), EXIT_PROTOCOL);
        assert_int_equal(keys_on_shield(&b), 0);
        assert_int_equal(b.script.confirms, 0);
        assert_false(is_pending(&b));
        bench_close(&b);
    }
}

static void refusals_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        enum tg_code code;
        enum client_exit expected;
    } cases[] = {{TG_UNAUTHENTICATED, EXIT_REFUSED},
                 {TG_NOT_FOUND, EXIT_REFUSED},
                 {TG_RESOURCE_EXHAUSTED, EXIT_TRY_LATER},
                 {TG_DEADLINE_EXCEEDED, EXIT_GATEWAY_UNREACHABLE},
                 {TG_INVALID_ARGUMENT, EXIT_PROTOCOL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        bench_open(&b);
        b.script.fill_code = cases[i].code;
        assert_int_equal(fill(&b, 3, 3), cases[i].expected);
        assert_non_null(strstr(b.err.text, "the key store says no"));
        assert_int_equal(b.filled, 0);
        assert_int_equal(keys_on_shield(&b), 0);
        bench_close(&b);
    }
}

/* The shield takes all of a chunk or nothing; what it did not take is never confirmed. */
static void keys_that_the_shield_refuses_are_not_confirmed(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    b.script.same_tickets = true;
    assert_int_not_equal(fill(&b, 3, 3), EXIT_OK);
    assert_int_equal(keys_on_shield(&b), 0);
    assert_int_equal(b.script.confirms, 0);
    assert_false(is_pending(&b));
    bench_close(&b);
}

static void a_fill_that_was_not_confirmed_is_confirmed_by_the_next(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    b.script.confirm_code = TG_INTERNAL;
    assert_int_not_equal(fill(&b, 3, 3), EXIT_OK);
    assert_int_equal(b.filled, 0);
    assert_int_equal(keys_on_shield(&b), 3);
    assert_true(is_pending(&b));
    b.script.confirm_code = TG_OK;
    assert_int_equal(fill(&b, 2, 3), EXIT_OK);
    assert_int_equal(keys_on_shield(&b), 5);
    assert_int_equal(b.script.confirms, 2);
    assert_int_equal(b.script.confirmed[0], 1); /* the old one, before anything new is made */
    assert_int_equal(b.script.confirmed[1], 2);
    assert_false(is_pending(&b));
    bench_close(&b);
}

/* Died after it was remembered and before the keys were on the shield. */
static void a_fill_that_never_got_there_is_forgotten(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    const struct pending pending = {
        .fill_id = {9}, .fill_id_len = 1, .shield_id = "shield-1", .count = 3, .key_ids = {{1}, {2}, {3}}};
    assert_int_equal(pending_write(b.shield, &pending, NULL), TG_OK);
    assert_int_equal(fill(&b, 2, 3), EXIT_OK);
    assert_int_equal(b.script.confirms, 1);
    assert_int_equal(b.script.confirmed[0], 1);
    assert_false(is_pending(&b));
    bench_close(&b);
}

/* A fill of 4 that was not confirmed, and its note. */
static void leave_unconfirmed(struct bench *b, struct pending *pending)
{
    bool found = false;
    b->script.confirm_code = TG_INTERNAL;
    assert_int_not_equal(fill(b, 4, 4), EXIT_OK);
    b->script.confirm_code = TG_OK;
    assert_int_equal(pending_read(b->shield, pending, &found, NULL), TG_OK);
    assert_true(found);
}

/* A token was pulled, or the charger killed, in the middle of adding: the first few keys are there. */
static void what_there_is_of_half_a_fill_is_taken_back(void **state)
{
    (void)state;
    struct bench b;
    struct pending pending;
    bench_open(&b);
    leave_unconfirmed(&b, &pending);
    assert_int_equal(shield_remove(b.shield, &pending.key_ids[2], 2, NULL), TG_OK);
    assert_int_equal(keys_on_shield(&b), 2);
    assert_int_equal(fill(&b, 1, 3), EXIT_OK);
    assert_int_equal(keys_on_shield(&b), 1);
    assert_int_equal(b.script.confirms, 1);
    assert_int_equal(b.script.confirmed[0], 2); /* the new one alone */
    assert_false(is_pending(&b));
    bench_close(&b);
}

/* The user has logged in since: with a key of the fill, which was confirmed, though the charger died before
 * it could note that. The others must stay. */
static void a_key_used_meanwhile_does_not_cost_the_others(void **state)
{
    (void)state;
    struct bench b;
    struct pending pending;
    struct shield_key *key = NULL;
    bench_open(&b);
    leave_unconfirmed(&b, &pending);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(shield_take(b.shield, 1, &key, NULL), TG_OK);
        shield_key_free(key);
    }
    assert_int_equal(fill(&b, 1, 3), EXIT_OK);
    assert_int_equal(keys_on_shield(&b), 2);
    assert_int_equal(b.script.confirmed[0], 1);
    bench_close(&b);
}

/* The key store has let the fill lapse: its keys go from the shield, and filling goes on. */
static void a_fill_that_lapsed_is_taken_back(void **state)
{
    (void)state;
    static const enum tg_code codes[] = {TG_FAILED_PRECONDITION, TG_NOT_FOUND};
    for (size_t i = 0; i < 2; i++) {
        struct bench b;
        struct pending pending;
        bench_open(&b);
        leave_unconfirmed(&b, &pending);
        b.script.confirm_code = codes[i];
        assert_int_equal(fill(&b, 1, 3), EXIT_REFUSED); /* now the new one is not confirmed */
        assert_int_equal(keys_on_shield(&b), 1);
        assert_true(is_pending(&b));
        b.script.confirm_code = TG_OK;
        assert_int_equal(fill(&b, 1, 3), EXIT_OK);
        assert_int_equal(keys_on_shield(&b), 2);
        bench_close(&b);
    }
}

static void assert_damaged(const uint8_t *note, size_t len)
{
    struct bench b;
    bench_open(&b);
    assert_int_equal(shield_put_note(b.shield, note, len, NULL), TG_OK);
    assert_int_equal(fill(&b, 2, 3), EXIT_BAD_INPUT);
    assert_non_null(strstr(b.err.text, "remove it"));
    assert_int_equal(b.script.fills, 0);
    bench_close(&b);
}

static void damaged_notes_are_an_error_with_a_remedy(void **state)
{
    (void)state;
    struct bench b;
    uint8_t *note = NULL;
    size_t len = 0;
    bench_open(&b);
    const struct pending pending = {.fill_id = {9}, .fill_id_len = 1, .shield_id = "s", .count = 1};
    assert_int_equal(pending_write(b.shield, &pending, NULL), TG_OK);
    assert_int_equal(shield_get_note(b.shield, &note, &len, NULL), TG_OK);
    bench_close(&b);
    assert_int_equal(len, 1 + 2 + 2 + 2 + TICKET_KEY_ID_LEN);
    for (size_t cut = 1; cut < len; cut++)
        assert_damaged(note, cut);
    static const struct {
        size_t at;
        uint8_t byte;
    } flips[] = {{0, 2}, {1, 0}, {1, 65}, {1, 255}, {3, 0}, {3, 65}, {4, ' '}, {5, 255}, {6, 0}, {6, 2}};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        uint8_t old = note[flips[i].at];
        note[flips[i].at] = flips[i].byte;
        assert_damaged(note, len);
        note[flips[i].at] = old;
    }
    free(note);
}

static void stopping_leaves_whole_chunks(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    b.stop_after = 2;
    assert_int_equal(fill(&b, 12, 4), EXIT_OK);
    assert_int_equal(b.filled, 8);
    assert_int_equal(keys_on_shield(&b), 8);
    assert_int_equal(b.script.confirms, 2);
    bench_close(&b);
}

static void a_fill_goes_in_chunks(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    assert_int_equal(fill(&b, 10, 4), EXIT_OK);
    assert_int_equal(b.filled, 10);
    assert_int_equal(keys_on_shield(&b), 10);
    assert_int_equal(b.script.fills, 3);
    assert_int_equal(b.script.counts[2], 2);
    assert_int_equal(b.progressed, 3);
    assert_int_equal(b.script.confirms, 3);
    assert_string_equal(b.script.user, "alice");
    assert_string_equal(b.script.shield_id, "shield-1");
    assert_true(b.script.password_right);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_answers_leave_the_shield_alone),
        cmocka_unit_test(refusals_are_told_apart),
        cmocka_unit_test(keys_that_the_shield_refuses_are_not_confirmed),
        cmocka_unit_test(a_fill_that_was_not_confirmed_is_confirmed_by_the_next),
        cmocka_unit_test(a_fill_that_never_got_there_is_forgotten),
        cmocka_unit_test(what_there_is_of_half_a_fill_is_taken_back),
        cmocka_unit_test(a_key_used_meanwhile_does_not_cost_the_others),
        cmocka_unit_test(a_fill_that_lapsed_is_taken_back),
        cmocka_unit_test(damaged_notes_are_an_error_with_a_remedy),
        cmocka_unit_test(stopping_leaves_whole_chunks),
        cmocka_unit_test(a_fill_goes_in_chunks),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
