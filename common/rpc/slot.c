/* The life of one incoming call: receive, check, handle, answer, receive again. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/pb.h"
#include "common/rpc/server.h"

/* How long a peer may take to read its answer before it is dropped: a slot is held meanwhile. */
enum { SEND_TIMEOUT_MS = 1000 };

static void let_go(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->owners, 1) != 1)
        return;
    pthread_mutex_destroy(&call->lock);
    free(call);
}

static void free_request(struct rpc_call *call)
{
    pb_free(call->incoming.request);
    call->incoming.request = NULL;
}

/* ---- answering ---- */

/* The call is the sender's no more once this has been called. */
static void send_answer(struct rpc_call *call, nng_msg *message)
{
    pthread_mutex_lock(&call->lock);
    bool closed = call->closed;
    if (!closed) {
        nng_aio_set_msg(call->send, message);
        nng_ctx_send(call->ctx, call->send);
    }
    pthread_mutex_unlock(&call->lock);
    if (closed)
        rpc_message_free(message);
    let_go(call);
}

static void answer(struct rpc_call *call, enum tg_code status, const char *text,
                   const ProtobufCMessage *response)
{
    nng_msg *message = rpc_answer_encode(status, text, response);
    if (message == NULL)
        message = rpc_answer_encode(TG_INTERNAL, "the answer is too large, or memory is out", NULL);
    TG_INVARIANT(message != NULL);
    free_request(call);
    call->status = status;
    send_answer(call, message);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    TG_INVARIANT(response != NULL && response->descriptor == call->output);
    answer(call, TG_OK, "", response);
}

void rpc_fail(struct rpc_call *call, enum tg_code code, const char *fmt, ...)
{
    char text[RPC_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    TG_INVARIANT(code != TG_OK);
    answer(call, code, text, NULL);
}

/* ---- receiving ---- */

/* False: the server drains and takes nothing new. */
static bool enter(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    call->counted = !server->draining;
    if (call->counted)
        server->busy++;
    pthread_mutex_unlock(&server->lock);
    return call->counted;
}

static void leave(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    if (!call->counted)
        return;
    pthread_mutex_lock(&server->lock);
    if (--server->busy == 0)
        pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

/* Once its answer is on its way: the server is still there then, which it need not be when it is given. */
static void count(const struct rpc_call *call)
{
    const struct rpc_server *server = call->server;
    const struct rpc_route *route = call->incoming.route;
    size_t i = route != NULL ? (size_t)(route - server->routes) : server->route_count;
    atomic_fetch_add(&server->answered[i][call->status], 1);
}

static void handle(struct rpc_call *call)
{
    const struct rpc_route *route = call->incoming.route;
    call->output = route->output;
    route->method->handle(call, call->incoming.request);
}

/* What is no envelope is answered as well: closing only this connection from here could hang nng (closer.h).
 */
static void take(struct rpc_call *call, nng_msg *message)
{
    struct rpc_server *server = call->server;
    struct tg_error err = {0};
    enum tg_code code =
        rpc_request_decode(server->routes, server->route_count, call->role, nng_msg_body(message),
                           nng_msg_len(message), &call->incoming, &err);
    rpc_message_free(message);
    atomic_fetch_add(&call->owners, 1);
    call->deadline_ms = clock_now_ms() + call->incoming.budget_ms;
    if (!enter(call))
        rpc_fail(call, TG_UNAVAILABLE, "the service is shutting down");
    else if (code != TG_OK)
        rpc_fail(call, code, "%s", err.text);
    else
        handle(call);
}

static void on_received(void *arg)
{
    struct rpc_call *call = arg;
    int rv = nng_aio_result(call->receive);
    if (rv == 0)
        take(call, nng_aio_get_msg(call->receive));
    else if (rv != NNG_ECLOSED && rv != NNG_ECANCELED)
        nng_ctx_recv(call->ctx, call->receive);
}

static void on_sent(void *arg)
{
    struct rpc_call *call = arg;
    int rv = nng_aio_result(call->send);
    if (rv != 0)
        rpc_message_free(nng_aio_get_msg(call->send));
    count(call);
    leave(call);
    if (rv != NNG_ECLOSED && rv != NNG_ECANCELED)
        nng_ctx_recv(call->ctx, call->receive);
}

/* ---- the slot itself ---- */

struct rpc_call *rpc_slot_open(struct rpc_server *server, nng_socket socket, enum rpc_role role)
{
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->server = server;
    call->context = server->context;
    call->role = role;
    pthread_mutex_init(&call->lock, NULL);
    atomic_init(&call->owners, 1);
    if (nng_ctx_open(&call->ctx, socket) != 0 || nng_aio_alloc(&call->receive, on_received, call) != 0 ||
        nng_aio_alloc(&call->send, on_sent, call) != 0) {
        rpc_slot_close(call);
        return NULL;
    }
    nng_aio_set_timeout(call->send, SEND_TIMEOUT_MS);
    return call;
}

void rpc_slot_start(struct rpc_call *call)
{
    nng_ctx_recv(call->ctx, call->receive);
}

void rpc_slot_close(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->closed = true;
    pthread_mutex_unlock(&call->lock);
    /* Both are stopped before either is freed: each one's callback starts the other. */
    nng_aio_stop(call->receive);
    nng_aio_stop(call->send);
    nng_aio_free(call->receive);
    nng_aio_free(call->send);
    (void)nng_ctx_close(call->ctx);
    let_go(call);
}

void *rpc_call_context(const struct rpc_call *call)
{
    return call->context;
}

enum rpc_role rpc_call_role(const struct rpc_call *call)
{
    return call->role;
}

const char *rpc_call_trace(const struct rpc_call *call)
{
    return call->incoming.trace;
}

const uint8_t *rpc_call_request_id(const struct rpc_call *call)
{
    return call->incoming.request_id;
}

const ProtobufCMessage *rpc_call_request(const struct rpc_call *call)
{
    return call->incoming.request;
}

uint32_t rpc_call_remaining_ms(const struct rpc_call *call)
{
    uint64_t now = clock_now_ms();
    return now < call->deadline_ms ? (uint32_t)(call->deadline_ms - now) : 0;
}
