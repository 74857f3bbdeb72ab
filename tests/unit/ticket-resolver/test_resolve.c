/* The resolver with real RPC; key store and audit service are scripted and live in the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/pb.h"
#include "proto/key_store.pb-c.h"
#include "proto/ticket_resolver.pb-c.h"
#include "services/ticket-resolver/ticket-resolver.h"
#include "tests/unit/common/eventually.h"

enum { ROLE_GATEWAY = 0, ROLE_RESOLVER = 1, ROLE_OPERATOR = 3, ROLE_SERVICE = 4, BUDGET_MS = 20000 };

/* ---- scripted peers ---- */

struct spend_seen {
    uint8_t ticket[TICKET_LEN], request_id[REQUEST_ID_LEN];
    char qkud_id[65], source[65], trace[TRACE_HEX_LEN + 1];
    uint32_t remaining_ms;
};

struct rig {
    char dir[64], ticket_key[96];
    struct rpc_server *audit, *key_store, *server;
    struct ticket_resolver *tr;
    struct rpc_client *gateway, *admin;
    pthread_mutex_t lock;
    enum tg_code verdict; /* of the key store */
    unsigned spends, refusals;
    struct spend_seen spend;
    bool expiry_reported;
    char source[64];
};

static _Atomic uint64_t now_s;
static uint64_t clock_of_test(void)
{
    return now_s;
}

static void handle_append(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rig *r = rpc_call_context(call);
    const Tg__AppendRequest *request = (const Tg__AppendRequest *)message;
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < request->n_events; i++) {
        const Tg__Event *event = request->events[i];
        r->refusals += strcmp(event->event, "ticket.refused") == 0;
        r->expiry_reported = r->expiry_reported || strstr(event->reason, "expired") != NULL;
        snprintf(r->source, sizeof r->source, "%s", event->source);
    }
    pthread_mutex_unlock(&r->lock);
    rpc_reply(call, &response.base);
}

static void handle_spend(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rig *r = rpc_call_context(call);
    const Tg__SpendRequest *request = (const Tg__SpendRequest *)message;
    Tg__SpendResponse response = TG__SPEND_RESPONSE__INIT;
    response.ticket_info = pb_bytes("sealed to the gateway", 21);
    pthread_mutex_lock(&r->lock);
    r->spends++;
    TG_INVARIANT(request->ticket.len == TICKET_LEN);
    memcpy(r->spend.ticket, request->ticket.data, TICKET_LEN);
    memcpy(r->spend.request_id, rpc_call_request_id(call), REQUEST_ID_LEN);
    snprintf(r->spend.qkud_id, sizeof r->spend.qkud_id, "%s", request->qkud_id);
    snprintf(r->spend.source, sizeof r->spend.source, "%s", request->source);
    snprintf(r->spend.trace, sizeof r->spend.trace, "%s", rpc_call_trace(call));
    r->spend.remaining_ms = rpc_call_remaining_ms(call);
    enum tg_code verdict = r->verdict;
    pthread_mutex_unlock(&r->lock);
    if (verdict == TG_OK)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, verdict, "the ticket is spent");
}

/* ---- the rig ---- */

static void must(enum tg_code code, const struct tg_error *err)
{
    if (code != TG_OK)
        fail_msg("%s: %s", tg_code_name(code), err->text);
}

static char *address_of(const struct rig *r, const char *name, char out[128])
{
    snprintf(out, 128, "ipc://%s/%s", r->dir, name);
    return out;
}

static struct rpc_server *serve(const struct rpc_method *methods, void *context)
{
    struct rpc_server *server = NULL;
    struct tg_error err;
    must(rpc_server_open(&server, methods, context, 64, &err), &err);
    return server;
}

static void listen_on(const struct rig *r, struct rpc_server *server, const char *name, int role)
{
    char address[128];
    struct tg_error err;
    struct rpc_listener listener = {.address = address_of(r, name, address), .role = role};
    must(rpc_server_listen(server, &listener, &err), &err);
}

static struct rpc_client *client_of(const struct rig *r, const char *name)
{
    char address[128];
    char *endpoint = address_of(r, name, address);
    const struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    struct rpc_client *client = NULL;
    struct tg_error err;
    must(rpc_client_open(&client, name, &peer, &err), &err);
    return client;
}

static void key_store_up(struct rig *r)
{
    static const struct rpc_method methods[] = {
        {&tg__key_store__descriptor, "Spend", RPC_ROLE_RESOLVER, handle_spend}, {.name = NULL}};
    r->key_store = serve(methods, r);
    listen_on(r, r->key_store, "key-store", ROLE_RESOLVER);
    EVENTUALLY(r->tr == NULL || ticket_resolver_not_serving(r->tr) == NULL);
}

static void audit_up(struct rig *r)
{
    static const struct rpc_method methods[] = {
        {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE, handle_append}, {.name = NULL}};
    r->audit = serve(methods, r);
    listen_on(r, r->audit, "audit", ROLE_SERVICE);
}

static void resolver_up(struct rig *r)
{
    char audit[128];
    char key_store[128];
    char centre[] = "CENTRE01";
    char *audit_endpoint = address_of(r, "audit", audit);
    char *key_store_endpoint = address_of(r, "key-store", key_store);
    const struct ticket_resolver_config config = {
        .ticket_key_file = r->ticket_key,
        .centre_id = centre,
        .key_store.endpoints = {&key_store_endpoint, 1},
        .audit = {.first.endpoints = {&audit_endpoint, 1}, .must_ack = 1}};
    struct tg_error err;
    void *state = NULL;
    must(ticket_resolver_open(&config, &state, &err), &err);
    r->tr = state;
    r->tr->now_s = clock_of_test;
    must(ticket_resolver_start(r->tr, &err), &err);
    r->server = serve(ticket_resolver_methods, r->tr);
    listen_on(r, r->server, "gateway", ROLE_GATEWAY);
    listen_on(r, r->server, "operator", ROLE_OPERATOR);
    EVENTUALLY(ticket_resolver_not_serving(r->tr) == NULL);
}

static int rig_open(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct tg_error err;
    uint8_t key[TICKET_KEY_LEN];
    *state = r;
    now_s = 1000000;
    log_open("test", LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC));
    snprintf(r->dir, sizeof r->dir, "/tmp/tg-resolver-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->ticket_key, sizeof r->ticket_key, "%s/ticket.key", r->dir);
    random_bytes(key, sizeof key);
    must(file_write_new(r->ticket_key, key, sizeof key, &err), &err);
    pthread_mutex_init(&r->lock, NULL);
    key_store_up(r);
    audit_up(r);
    resolver_up(r);
    r->gateway = client_of(r, "gateway");
    r->admin = client_of(r, "operator");
    return 0;
}

static int rig_close(void **state)
{
    struct rig *r = *state;
    rpc_client_close(r->gateway);
    rpc_client_close(r->admin);
    rpc_server_close(r->server);
    ticket_resolver_close(r->tr);
    rpc_server_close(r->key_store);
    rpc_server_close(r->audit);
    pthread_mutex_destroy(&r->lock);
    DIR *dir = opendir(r->dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(r->dir);
    free(r);
    return 0;
}

static unsigned counted(struct rig *r, const unsigned *counter)
{
    pthread_mutex_lock(&r->lock);
    unsigned value = *counter;
    pthread_mutex_unlock(&r->lock);
    return value;
}

/* ---- requests ---- */

static const uint8_t request_id[REQUEST_ID_LEN] = "request request";
static const char trace[] = "0123456789abcdef0123456789abcdef";

static void make_ticket(const struct rig *r, const char *centre, uint64_t expires_s, uint8_t out[TICKET_LEN])
{
    struct ticket ticket = {.expires_s = expires_s};
    memcpy(ticket.centre, centre, TICKET_CENTRE_LEN);
    ticket_new_key_id(ticket.key_id);
    ticket_encode(&ticket, r->tr->ticket_key, out);
}

static Tg__ResolveRequest request_for(const uint8_t *ticket, size_t len)
{
    Tg__ResolveRequest request = TG__RESOLVE_REQUEST__INIT;
    request.ticket = pb_bytes(ticket, len);
    request.qkud_id = pb_string("q1");
    request.source = pb_string("192.0.2.1:4711");
    return request;
}

static enum tg_code resolve(struct rpc_client *client, const Tg__ResolveRequest *request, uint32_t budget_ms,
                            ProtobufCMessage **response, struct tg_error *err)
{
    return rpc_call_wait(client,
                         &(struct rpc_request){.service = &tg__ticket_resolver__descriptor,
                                               .method = "Resolve",
                                               .message = &request->base,
                                               .budget_ms = budget_ms,
                                               .trace = trace,
                                               .request_id = request_id},
                         response, err);
}

static void refused(struct rpc_client *client, const Tg__ResolveRequest *request, enum tg_code code,
                    const char *word)
{
    struct tg_error err = {0};
    ProtobufCMessage *response = NULL;
    enum tg_code got = resolve(client, request, BUDGET_MS, &response, &err);
    if (got != code || strstr(err.text, word) == NULL)
        fail_msg("%s: %s, instead of %s with \"%s\"", tg_code_name(got), err.text, tg_code_name(code), word);
}

/* ---- refusals ---- */

static void bad_tickets_never_reach_the_key_store(void **state)
{
    struct rig *r = *state;
    uint8_t ticket[TICKET_LEN + 1] = {0};
    make_ticket(r, "CENTRE01", now_s + 10, ticket);
    Tg__ResolveRequest request = request_for(ticket, 0);
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "bytes");
    request = request_for(ticket, TICKET_LEN - 1);
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "bytes");
    request = request_for(ticket, TICKET_LEN + 1);
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "bytes");
    for (size_t i = 1; i < TICKET_LEN; i += 8) {
        ticket[i] ^= 4;
        request = request_for(ticket, TICKET_LEN);
        refused(r->gateway, &request, TG_UNAUTHENTICATED, "");
        ticket[i] ^= 4;
    }
    make_ticket(r, "CENTRE02", now_s + 10, ticket);
    refused(r->gateway, &request, TG_UNAUTHENTICATED, "another centre");
    make_ticket(r, "CENTRE01", now_s, ticket);
    refused(r->gateway, &request, TG_FAILED_PRECONDITION, "expired");
    EVENTUALLY(counted(r, &r->refusals) == 3 + TICKET_LEN / 8 + 2);
    assert_int_equal(counted(r, &r->spends), 0);
    assert_string_equal(r->source, "192.0.2.1:4711");
    assert_true(r->expiry_reported);
}

static void names_are_checked_before_they_are_passed_on(void **state)
{
    struct rig *r = *state;
    uint8_t ticket[TICKET_LEN];
    char longer[130] = "";
    memset(longer, 'x', sizeof longer - 1);
    make_ticket(r, "CENTRE01", now_s + 10, ticket);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    request.qkud_id = pb_string("");
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "QKUD id");
    request.qkud_id = longer;
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "QKUD id");
    request.qkud_id = pb_string("q1");
    request.source = longer;
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "source");
    request.source = pb_string("a\nb");
    refused(r->gateway, &request, TG_INVALID_ARGUMENT, "source");
    assert_int_equal(counted(r, &r->spends), 0);
}

static void only_gateways_resolve(void **state)
{
    struct rig *r = *state;
    uint8_t ticket[TICKET_LEN];
    make_ticket(r, "CENTRE01", now_s + 10, ticket);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    refused(r->admin, &request, TG_PERMISSION_DENIED, "");
    assert_int_equal(counted(r, &r->spends), 0);
}

static void a_refusal_does_not_wait_for_the_audit_log(void **state)
{
    struct rig *r = *state;
    uint8_t ticket[TICKET_LEN] = {1};
    rpc_server_close(r->audit);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    refused(r->gateway, &request, TG_UNAUTHENTICATED, "");
    audit_up(r);
    EVENTUALLY(counted(r, &r->refusals) == 1); /* it comes when it can */
}

static void the_key_stores_verdict_is_passed_on(void **state)
{
    struct rig *r = *state;
    uint8_t ticket[TICKET_LEN];
    make_ticket(r, "CENTRE01", now_s + 10, ticket);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    r->verdict = TG_FAILED_PRECONDITION;
    refused(r->gateway, &request, TG_FAILED_PRECONDITION, "the ticket is spent");
    r->verdict = TG_PERMISSION_DENIED;
    refused(r->gateway, &request, TG_PERMISSION_DENIED, "key store");
    assert_int_equal(counted(r, &r->spends), 2);
}

static void without_the_key_store_it_says_so_and_recovers(void **state)
{
    struct rig *r = *state;
    struct tg_error err;
    ProtobufCMessage *response = NULL;
    uint8_t ticket[TICKET_LEN];
    make_ticket(r, "CENTRE01", now_s + 10, ticket);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    rpc_server_close(r->key_store);
    EVENTUALLY(ticket_resolver_not_serving(r->tr) != NULL);
    assert_string_equal(ticket_resolver_not_serving(r->tr), "the key store cannot be reached");
    enum tg_code code = resolve(r->gateway, &request, 500, &response, &err);
    assert_true(code == TG_UNAVAILABLE || code == TG_DEADLINE_EXCEEDED);
    key_store_up(r);
    EVENTUALLY(resolve(r->gateway, &request, BUDGET_MS, &response, &err) == TG_OK);
    rpc_free_response(response);
}

/* ---- the good case ---- */

static void a_good_ticket_is_spent_under_the_gateways_own_request_id(void **state)
{
    struct rig *r = *state;
    struct tg_error err;
    ProtobufCMessage *response = NULL;
    uint8_t ticket[TICKET_LEN];
    make_ticket(r, "CENTRE01", now_s + 1, ticket);
    Tg__ResolveRequest request = request_for(ticket, TICKET_LEN);
    must(resolve(r->gateway, &request, BUDGET_MS, &response, &err), &err);
    const ProtobufCBinaryData *info = &((const Tg__ResolveResponse *)response)->ticket_info;
    assert_int_equal(info->len, 21);
    assert_memory_equal(info->data, "sealed to the gateway", 21);
    rpc_free_response(response);
    assert_memory_equal(r->spend.ticket, ticket, TICKET_LEN);
    assert_memory_equal(r->spend.request_id, request_id, REQUEST_ID_LEN);
    assert_string_equal(r->spend.qkud_id, "q1");
    assert_string_equal(r->spend.source, "192.0.2.1:4711");
    assert_string_equal(r->spend.trace, trace);
    assert_in_range(r->spend.remaining_ms, 1, BUDGET_MS); /* what is left, not a budget of its own */
    assert_int_equal(counted(r, &r->spends), 1);
}

static void a_ticket_key_that_others_can_read_is_refused(void **state)
{
    struct rig *r = *state;
    char centre[] = "CENTRE01";
    const struct ticket_resolver_config config = {.ticket_key_file = r->ticket_key, .centre_id = centre};
    struct tg_error err;
    void *made = NULL;
    assert_int_equal(chmod(r->ticket_key, 0440), 0);
    assert_int_equal(ticket_resolver_open(&config, &made, &err), TG_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, r->ticket_key));
    assert_null(made);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(bad_tickets_never_reach_the_key_store),
        RIG_TEST(names_are_checked_before_they_are_passed_on),
        RIG_TEST(only_gateways_resolve),
        RIG_TEST(a_refusal_does_not_wait_for_the_audit_log),
        RIG_TEST(the_key_stores_verdict_is_passed_on),
        RIG_TEST(without_the_key_store_it_says_so_and_recovers),
        RIG_TEST(a_good_ticket_is_spent_under_the_gateways_own_request_id),
        RIG_TEST(a_ticket_key_that_others_can_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
