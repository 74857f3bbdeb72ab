/* A key store as it runs, with real RPC over ipc and the real database; audit service and RADIUS bridge are
 * scripted and live in the test. The clock is the test's. */
#ifndef TG_TESTS_KEY_STORE_RIG_H
#define TG_TESTS_KEY_STORE_RIG_H

#include "backends.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/pb.h"
#include "common/ticket_info.h"
#include "proto/radius_bridge.pb-c.h"
#include "services/key-store/key-store.h"
#include "tests/unit/common/eventually.h"

enum { EVENTS_MAX = 4096, HELD_MAX = 64, BUDGET_MS = 20000 };
static const char password[] = "correct horse";

/* ---- scripted peers ---- */

enum audit_mode { AUDIT_TAKES, AUDIT_REFUSES, AUDIT_HOLDS };

struct event {
    char event[32], reason[200], detail[100], shield_id[65], qkud_id[65], user[129], peer[16], source[32];
    bool failure;
    size_t ticket_len;
    uint8_t ticket[TICKET_LEN];
};

struct fake_audit {
    struct rpc_server *server;
    pthread_mutex_t lock;
    enum audit_mode mode;
    uint32_t budget_ms; /* what the newest report left us */
    struct event events[EVENTS_MAX];
    size_t count;
    struct rpc_call *held[HELD_MAX];
    size_t held_count;
};

enum bridge_mode { BRIDGE_ASKS_PASSWORD, BRIDGE_CHALLENGES, BRIDGE_FAILS };

struct fake_bridge {
    struct rpc_server *server;
    enum bridge_mode mode;
    _Atomic unsigned logins;
};

static inline void keep_event(struct fake_audit *audit, const Tg__Event *in)
{
    TG_INVARIANT(audit->count < EVENTS_MAX); /* not cmocka's: this is another thread */
    struct event *e = &audit->events[audit->count++];
    *e = (struct event){.failure = in->outcome == TG__EVENT__OUTCOME__FAILURE, .ticket_len = in->ticket.len};
    if (in->ticket.len == TICKET_LEN)
        memcpy(e->ticket, in->ticket.data, TICKET_LEN);
    snprintf(e->event, sizeof e->event, "%s", in->event);
    snprintf(e->reason, sizeof e->reason, "%s", in->reason);
    snprintf(e->detail, sizeof e->detail, "%s", in->detail);
    snprintf(e->shield_id, sizeof e->shield_id, "%s", in->shield_id);
    snprintf(e->qkud_id, sizeof e->qkud_id, "%s", in->qkud_id);
    snprintf(e->user, sizeof e->user, "%s", in->user);
    snprintf(e->peer, sizeof e->peer, "%s", in->peer);
    snprintf(e->source, sizeof e->source, "%s", in->source);
}

static inline void reply_appended(struct rpc_call *call)
{
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

static inline void handle_append(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_audit *audit = rpc_call_context(call);
    const Tg__AppendRequest *request = (const Tg__AppendRequest *)message;
    pthread_mutex_lock(&audit->lock);
    enum audit_mode mode = audit->mode;
    audit->budget_ms = rpc_call_remaining_ms(call);
    for (size_t i = 0; i < request->n_events && mode != AUDIT_REFUSES; i++)
        keep_event(audit, request->events[i]);
    if (mode == AUDIT_HOLDS)
        audit->held[audit->held_count++] = call;
    pthread_mutex_unlock(&audit->lock);
    if (mode == AUDIT_TAKES)
        reply_appended(call);
    else if (mode == AUDIT_REFUSES)
        rpc_fail(call, TG_RESOURCE_EXHAUSTED, "the disk is full");
}

static inline void handle_login(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_bridge *bridge = rpc_call_context(call);
    const Tg__LoginRequest *request = (const Tg__LoginRequest *)message;
    Tg__LoginResponse response = TG__LOGIN_RESPONSE__INIT;
    bridge->logins++;
    bool right = request->password.len == strlen(password) &&
                 memcmp(request->password.data, password, request->password.len) == 0;
    response.outcome = right ? TG__LOGIN_RESPONSE__OUTCOME__ACCEPT : TG__LOGIN_RESPONSE__OUTCOME__REJECT;
    response.reply_message = pb_string(right ? "welcome" : "no such\nuser");
    if (bridge->mode == BRIDGE_CHALLENGES) {
        response.outcome = TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE;
        response.reply_message = pb_string("token code?");
    }
    if (bridge->mode == BRIDGE_FAILS)
        rpc_fail(call, TG_UNAVAILABLE, "no RADIUS server answers");
    else
        rpc_reply(call, &response.base);
}

/* ---- the rig ---- */

struct rig {
    enum backend backend;
    struct scratch scratch;
    struct fake_audit audit;
    struct fake_bridge bridge;
    struct key_store *ks;
    struct rpc_server *server;
    struct rpc_client *resolver, *charger, *admin;
    uint8_t qkud_key[32];    /* of "q1" */
    struct config_list keks; /* struct kek_config; empty: KEK 1 alone */
};

static _Atomic uint64_t rig_time_s;
static inline uint64_t rig_clock(void)
{
    return rig_time_s;
}

static inline char *rig_address(const struct rig *r, const char *name, char out[128])
{
    snprintf(out, 128, "ipc://%s/%s", r->scratch.dir, name);
    return out;
}

static inline void rig_listen(const struct rig *r, struct rpc_server *server, const char *name, int role)
{
    char address[128];
    struct tg_error err;
    struct rpc_listener listener = {.address = rig_address(r, name, address), .role = role};
    must(rpc_server_listen(server, &listener, &err), &err);
}

static inline struct rpc_client *rig_client(const struct rig *r, const char *name)
{
    char address[128];
    char *endpoint = rig_address(r, name, address);
    const struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    struct rpc_client *client = NULL;
    struct tg_error err;
    must(rpc_client_open(&client, name, &peer, &err), &err);
    return client;
}

enum { ROLE_RESOLVER = 1, ROLE_CHARGER = 2, ROLE_OPERATOR = 3, ROLE_SERVICE = 4 }; /* of rpc_role_names */

static inline void audit_up(struct rig *r)
{
    static const struct rpc_method methods[] = {
        {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE, handle_append}, {.name = NULL}};
    struct tg_error err;
    must(rpc_server_open(&r->audit.server, methods, &r->audit, 16, &err), &err);
    rig_listen(r, r->audit.server, "audit", ROLE_SERVICE);
}

static inline void audit_down(struct rig *r)
{
    rpc_server_close(r->audit.server);
    r->audit.server = NULL;
    EVENTUALLY(audit_client_trouble(r->ks->audit) != NULL);
}

static inline void bridge_up(struct rig *r)
{
    static const struct rpc_method methods[] = {
        {&tg__radius_bridge__descriptor, "Login", RPC_ROLE_SERVICE, handle_login}, {.name = NULL}};
    struct tg_error err;
    must(rpc_server_open(&r->bridge.server, methods, &r->bridge, 16, &err), &err);
    rig_listen(r, r->bridge.server, "bridge", ROLE_SERVICE);
}

static struct source_config rig_source; /* of the next key store; at first the DRBG */

static inline void key_store_up(struct rig *r)
{
    char audit[128];
    char bridge[128];
    char centre[] = "CENTRE01";
    struct kek_config kek = {.id = 1, .file = r->scratch.kek};
    char *audit_endpoint = rig_address(r, "audit", audit);
    char *bridge_endpoint = rig_address(r, "bridge", bridge);
    struct key_store_config config = {.database = r->scratch.database,
                                      .keks = r->keks.count > 0 ? r->keks : (struct config_list){&kek, 1},
                                      .ticket_key_file = r->scratch.ticket_key,
                                      .centre_id = centre,
                                      .key_lifetime = 100000 * 1000,
                                      .answer_window = 60000,
                                      .source = rig_source,
                                      .radius_bridge.endpoints = {&bridge_endpoint, 1},
                                      .audit = {.first.endpoints = {&audit_endpoint, 1}, .must_ack = 1}};
    struct tg_error err;
    void *state = NULL;
    if (r->backend == ON_POSTGRES) {
        config.database = NULL;
        config.postgres = (struct postgres_config){.conninfo = backends_cluster.conninfo, .timeout = 60000};
    }
    must(key_store_open(&config, &state, &err), &err);
    r->ks = state;
    r->ks->now_s = rig_clock;
    must(key_store_start(r->ks, &err), &err);
    must(rpc_server_open(&r->server, key_store_methods, r->ks, 128, &err), &err);
    rig_listen(r, r->server, "resolver", ROLE_RESOLVER);
    rig_listen(r, r->server, "charger", ROLE_CHARGER);
    rig_listen(r, r->server, "operator", ROLE_OPERATOR);
    EVENTUALLY(key_store_not_serving(r->ks) == NULL && rpc_client_ready(r->ks->bridge));
}

static inline void key_store_down(struct rig *r)
{
    rpc_server_close(r->server);
    key_store_close(r->ks);
}

static inline int rig_open(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    r->backend = *state != NULL ? *(const enum backend *)*state : ON_SQLITE;
    *state = r;
    if (r->backend == ON_POSTGRES)
        backends_empty_postgres();
    rig_time_s = 1000000;
    scratch_open(&r->scratch);
    pthread_mutex_init(&r->audit.lock, NULL);
    audit_up(r);
    bridge_up(r);
    key_store_up(r);
    r->resolver = rig_client(r, "resolver");
    r->charger = rig_client(r, "charger");
    r->admin = rig_client(r, "operator");
    return 0;
}

static inline int rig_close(void **state)
{
    struct rig *r = *state;
    rpc_client_close(r->resolver);
    rpc_client_close(r->charger);
    rpc_client_close(r->admin);
    key_store_down(r);
    rpc_server_close(r->audit.server);
    rpc_server_close(r->bridge.server);
    pthread_mutex_destroy(&r->audit.lock);
    scratch_close(&r->scratch);
    free(r);
    return 0;
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
#define RIG_TEST_ON(f, on)                                                                                   \
    {                                                                                                        \
        RIG_TEST(f), on                                                                                      \
    }

static inline void audit_set(struct rig *r, enum audit_mode mode)
{
    pthread_mutex_lock(&r->audit.lock);
    r->audit.mode = mode;
    pthread_mutex_unlock(&r->audit.lock);
}

static inline bool find_event(struct rig *r, const char *name, bool failure, struct event *out)
{
    bool found = false;
    pthread_mutex_lock(&r->audit.lock);
    for (size_t i = 0; i < r->audit.count && !found; i++) {
        *out = r->audit.events[i];
        found = strcmp(out->event, name) == 0 && out->failure == failure;
    }
    pthread_mutex_unlock(&r->audit.lock);
    return found;
}

static inline size_t count_events(struct rig *r, const char *name)
{
    size_t count = 0;
    pthread_mutex_lock(&r->audit.lock);
    for (size_t i = 0; i < r->audit.count; i++)
        count += strcmp(r->audit.events[i].event, name) == 0;
    pthread_mutex_unlock(&r->audit.lock);
    return count;
}

static inline void forget_events(struct rig *r)
{
    pthread_mutex_lock(&r->audit.lock);
    r->audit.count = 0;
    pthread_mutex_unlock(&r->audit.lock);
}

/* An event that is reported without anyone waiting for it. */
static inline struct event wait_event(struct rig *r, const char *name, bool failure)
{
    struct event event;
    EVENTUALLY(find_event(r, name, failure, &event));
    return event;
}

/* ---- calls ---- */

static inline enum tg_code call_id(struct rpc_client *client, const char *method,
                                   const ProtobufCMessage *message, const uint8_t *request_id,
                                   uint32_t budget_ms, ProtobufCMessage **response, struct tg_error *err)
{
    return rpc_call_wait(client,
                         &(struct rpc_request){.service = &tg__key_store__descriptor,
                                               .method = method,
                                               .message = message,
                                               .budget_ms = budget_ms,
                                               .request_id = request_id},
                         response, err);
}

/* Refused with `code` and a text that has `word` in it. */
static inline void refused(struct rpc_client *client, const char *method, const ProtobufCMessage *message,
                           enum tg_code code, const char *word)
{
    struct tg_error err = {0};
    ProtobufCMessage *response = NULL;
    enum tg_code got = call_id(client, method, message, NULL, BUDGET_MS, &response, &err);
    if (got != code || strstr(err.text, word) == NULL)
        fail_msg("%s: %s: %s, instead of %s with \"%s\"", method, tg_code_name(got), err.text,
                 tg_code_name(code), word);
}

static inline void *answered(struct rpc_client *client, const char *method, const ProtobufCMessage *message)
{
    struct tg_error err = {0};
    ProtobufCMessage *response = NULL;
    must(call_id(client, method, message, NULL, BUDGET_MS, &response, &err), &err);
    return response;
}

static inline void done(struct rpc_client *client, const char *method, const ProtobufCMessage *message)
{
    rpc_free_response(answered(client, method, message));
}

/* ---- shields and keys ---- */

static inline void add_shield_of(struct rig *r, const char *id, const char *owner)
{
    Tg__ShieldAddRequest add = TG__SHIELD_ADD_REQUEST__INIT;
    add.shield_id = pb_string(id);
    add.owner = pb_string(owner);
    add.policy = pb_string("ops");
    done(r->admin, "ShieldAdd", &add.base);
}

static inline void add_qkud_q1(struct rig *r)
{
    Tg__QkudAddRequest add = TG__QKUD_ADD_REQUEST__INIT;
    add.qkud_id = pb_string("q1");
    Tg__QkudAddResponse *added = answered(r->admin, "QkudAdd", &add.base);
    assert_int_equal(added->key.len, sizeof r->qkud_key);
    memcpy(r->qkud_key, added->key.data, sizeof r->qkud_key);
    rpc_free_response(&added->base);
}

static inline Tg__FillRequest fill_request(const char *shield_id, const char *user, uint32_t count)
{
    Tg__FillRequest fill = TG__FILL_REQUEST__INIT;
    fill.shield_id = pb_string(shield_id);
    fill.user = pb_string(user);
    fill.password = pb_bytes(password, strlen(password));
    fill.count = count;
    return fill;
}

static inline void confirm(struct rig *r, const Tg__FillResponse *filled, const char *shield_id,
                           unsigned ready)
{
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    request.fill_id = filled->fill_id;
    request.shield_id = pb_string(shield_id);
    Tg__ConfirmFillResponse *confirmed = answered(r->charger, "ConfirmFill", &request.base);
    assert_int_equal(confirmed->ready, ready);
    rpc_free_response(&confirmed->base);
}

/* QKUD "q1", shield "s1" of alice with `count` keys that can be spent. The answer is the caller's. */
static inline Tg__FillResponse *fill_s1(struct rig *r, uint32_t count)
{
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", count);
    Tg__FillResponse *filled = answered(r->charger, "Fill", &fill.base);
    assert_int_equal(filled->n_entries, count);
    confirm(r, filled, "s1", count);
    return filled;
}

static inline Tg__SpendRequest spend_request(const Tg__FillEntry *entry)
{
    Tg__SpendRequest spend = TG__SPEND_REQUEST__INIT;
    spend.ticket = entry->ticket;
    spend.qkud_id = pb_string("q1");
    spend.source = pb_string("192.0.2.1:4711");
    return spend;
}

/* Is this answer the entry's key, for this request? */
static inline void check_answer(const struct rig *r, const ProtobufCMessage *response,
                                const Tg__FillEntry *entry, const uint8_t request_id[REQUEST_ID_LEN])
{
    const ProtobufCBinaryData *sealed = &((const Tg__SpendResponse *)response)->ticket_info;
    struct secret *qkud_key = secret_copy(r->qkud_key, sizeof r->qkud_key);
    struct secret *key = NULL;
    struct ticket_info info;
    struct tg_error err;
    must(ticket_info_open(sealed->data, sealed->len, qkud_key, "q1", entry->ticket.data, request_id, &info,
                          &key, &err),
         &err);
    assert_memory_equal(secret_view(key), entry->key.data, 32);
    assert_string_equal(info.shield_id, "s1");
    assert_string_equal(info.owner, "alice");
    assert_string_equal(info.policy, "ops");
    secret_free(key);
    secret_free(qkud_key);
}

static inline void spend_ok(struct rig *r, const Tg__FillEntry *entry)
{
    uint8_t id[REQUEST_ID_LEN];
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__SpendRequest spend = spend_request(entry);
    random_bytes(id, sizeof id);
    must(call_id(r->resolver, "Spend", &spend.base, id, BUDGET_MS, &response, &err), &err);
    check_answer(r, response, entry, id);
    rpc_free_response(response);
}

#endif
