/* What the RPC tests share: a scripted server (its Health method does as the request says) and a client. */
#ifndef TG_TESTS_RPC_FIXTURE_H
#define TG_TESTS_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/pb.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "proto/audit.pb-c.h"
#include "proto/health.pb-c.h"

enum { HELD_MAX = 64, IDS_MAX = 64 };

/* The server's side of the script; outlives servers that are closed and opened again. */
struct script {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct rpc_call *held[HELD_MAX]; /* by "hold" */
    size_t held_count;
    unsigned handled;
    uint8_t ids[IDS_MAX][REQUEST_ID_LEN];
    char trace[TRACE_HEX_LEN + 1];
    uint32_t remaining_ms;
    enum rpc_role role;
    unsigned refusals; /* how many calls to answer with UNAVAILABLE before the script is followed */
};

struct rig {
    char dir[64];
    char address[128];
    struct script script;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpc_tls server_tls, client_tls;
};

static inline void script_note(struct script *s, struct rpc_call *call)
{
    if (s->handled < IDS_MAX)
        memcpy(s->ids[s->handled], rpc_call_request_id(call), REQUEST_ID_LEN);
    s->handled++;
    memcpy(s->trace, rpc_call_trace(call), strlen(rpc_call_trace(call)) + 1);
    s->remaining_ms = rpc_call_remaining_ms(call);
    s->role = rpc_call_role(call);
    pthread_cond_broadcast(&s->changed);
}

static inline void reply_text(struct rpc_call *call, const char *text)
{
    Tg__HealthCheckResponse response = TG__HEALTH_CHECK_RESPONSE__INIT;
    response.status = TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    response.reason = pb_string(text);
    rpc_reply(call, &response.base);
}

static inline void reply_big(struct rpc_call *call, size_t len)
{
    char *text = calloc(1, len + 1);
    memset(text, 'x', len);
    reply_text(call, text);
    free(text);
}

static inline void run_script(struct rpc_call *call, const char *script)
{
    if (strncmp(script, "echo ", 5) == 0)
        reply_text(call, script + 5);
    else if (strncmp(script, "fail ", 5) == 0)
        rpc_fail(call, (enum tg_code)atoi(script + 5), "as asked");
    else if (strncmp(script, "big ", 4) == 0)
        reply_big(call, (size_t)atol(script + 4));
    else
        rpc_fail(call, TG_INVALID_ARGUMENT, "no such script");
}

/* "echo TEXT", "fail CODE", "big BYTES" or "hold". */
static inline void follow_script(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__HealthCheckRequest *request = (const void *)message;
    struct script *s = rpc_call_context(call);
    pthread_mutex_lock(&s->lock);
    script_note(s, call);
    bool refuse = s->refusals > 0;
    bool hold = !refuse && strcmp(request->service, "hold") == 0 && s->held_count < HELD_MAX;
    if (refuse)
        s->refusals--;
    if (hold)
        s->held[s->held_count++] = call; /* it belongs to the test from here on */
    pthread_mutex_unlock(&s->lock);
    if (refuse)
        rpc_fail(call, TG_UNAVAILABLE, "not now");
    else if (!hold)
        run_script(call, request->service);
}

static inline void refuse_all(struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)message;
    rpc_fail(call, TG_ABORTED, "a method for operators was called");
}

static const struct rpc_method script_methods[] = {
    {&tg__health__descriptor, "Check", RPC_ROLE_GATEWAY | RPC_ROLE_SERVICE, follow_script},
    {&tg__audit__descriptor, "Verify", RPC_ROLE_OPERATOR, refuse_all},
    {NULL, NULL, 0, NULL},
};

static inline enum tg_code rig_listen(struct rig *rig, int role, struct tg_error *err)
{
    struct rpc_listener listener = {.address = rig->address, .role = role, .tls = rig->server_tls};
    return rpc_server_listen(rig->server, &listener, err);
}

static inline void rig_serve(struct rig *rig, unsigned in_flight)
{
    struct tg_error err = {0};
    if (rpc_server_open(&rig->server, script_methods, &rig->script, in_flight, &err) != TG_OK ||
        rig_listen(rig, 0, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline void rig_stop(struct rig *rig)
{
    rpc_server_close(rig->server);
    rig->server = NULL;
}

/* Also waits until the client has noticed: before, a call may be sent into the void. */
static inline void rig_stop_and_lose(struct rig *rig)
{
    rig_stop(rig);
    while (rpc_client_ready(rig->client))
        usleep(1000);
}

static inline enum tg_code rig_dial(struct rig *rig, struct rpc_client **client, struct tg_error *err)
{
    char *endpoints[] = {rig->address};
    struct rpc_peer peer = {.endpoints = {.items = endpoints, .count = 1}, .tls = rig->client_tls};
    return rpc_client_open(client, "test service", &peer, err);
}

static inline void rig_connect(struct rig *rig)
{
    struct tg_error err = {0};
    if (rig_dial(rig, &rig->client, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline struct rig *rig_new(const char *scheme)
{
    static atomic_int number;
    struct rig *rig = calloc(1, sizeof *rig);
    pthread_mutex_init(&rig->script.lock, NULL);
    pthread_cond_init(&rig->script.changed, NULL);
    memcpy(rig->dir, "/tmp/tg-rpc-XXXXXX", sizeof "/tmp/tg-rpc-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    if (strcmp(scheme, "inproc") == 0)
        snprintf(rig->address, sizeof rig->address, "inproc://test-%d", atomic_fetch_add(&number, 1));
    else
        snprintf(rig->address, sizeof rig->address, "ipc://%s/socket", rig->dir);
    return rig;
}

static inline void rig_remove_files(const struct rig *rig)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
    assert_int_equal(system(command), 0);
}

static inline void rig_free(struct rig *rig)
{
    rpc_client_close(rig->client);
    rpc_server_close(rig->server);
    rig_remove_files(rig);
    pthread_cond_destroy(&rig->script.changed);
    pthread_mutex_destroy(&rig->script.lock);
    free(rig);
}

/* For cmocka: a rig with server and client over ipc. */
static inline int rig_setup_ipc(void **state)
{
    struct rig *rig = rig_new("ipc");
    rig_serve(rig, 16);
    rig_connect(rig);
    *state = rig;
    return 0;
}

static inline int rig_setup_inproc(void **state)
{
    struct rig *rig = rig_new("inproc");
    rig_serve(rig, 16);
    rig_connect(rig);
    *state = rig;
    return 0;
}

static inline int rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

/* ---- calls ---- */

static inline struct rpc_request script_request(Tg__HealthCheckRequest *message, const char *script,
                                                uint32_t budget_ms)
{
    *message = (Tg__HealthCheckRequest)TG__HEALTH_CHECK_REQUEST__INIT;
    message->service = pb_string(script);
    return (struct rpc_request){.service = &tg__health__descriptor,
                                .method = "Check",
                                .message = &message->base,
                                .budget_ms = budget_ms};
}

/* Calls and checks that an OK answer holds `expected`. */
static inline enum tg_code ask(struct rig *rig, const char *script, uint32_t budget_ms, const char *expected,
                               struct tg_error *err)
{
    Tg__HealthCheckRequest message;
    struct rpc_request request = script_request(&message, script, budget_ms);
    ProtobufCMessage *response = NULL;
    enum tg_code code = rpc_call_wait(rig->client, &request, &response, err);
    if (code == TG_OK && expected != NULL)
        assert_string_equal(((const Tg__HealthCheckResponse *)(const void *)response)->reason, expected);
    assert_true((code == TG_OK) == (response != NULL));
    rpc_free_response(response);
    return code;
}

/* The result of a call that is under way. */
struct pending {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned count;
    enum tg_code status;
    char text[512];
};

static inline void pending_done(void *arg, enum tg_code status, const char *text,
                                const ProtobufCMessage *response)
{
    struct pending *p = arg;
    (void)response;
    pthread_mutex_lock(&p->lock);
    p->count++;
    p->status = status;
    snprintf(p->text, sizeof p->text, "%s", text);
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
}

static inline void ask_later(struct rig *rig, const char *script, uint32_t budget_ms, bool idempotent,
                             struct pending *p)
{
    Tg__HealthCheckRequest message;
    struct rpc_request request = script_request(&message, script, budget_ms);
    request.idempotent = idempotent;
    *p = (struct pending){.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    rpc_start(rig->client, &request, pending_done, p);
}

static inline enum tg_code pending_wait(struct pending *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->count == 0)
        pthread_cond_wait(&p->ended, &p->lock);
    assert_int_equal(p->count, 1);
    pthread_mutex_unlock(&p->lock);
    return p->status;
}

/* Waits until the server holds `count` calls. */
static inline void await_held(struct script *s, size_t count)
{
    pthread_mutex_lock(&s->lock);
    while (s->held_count < count)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static inline struct rpc_call *take_held(struct script *s)
{
    pthread_mutex_lock(&s->lock);
    assert_true(s->held_count > 0);
    struct rpc_call *call = s->held[--s->held_count];
    pthread_mutex_unlock(&s->lock);
    return call;
}

#endif
