#include "common/rpc/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/pb.h"

enum { CANCEL_AGAIN_MS = 5, CLOSE_SETTLE_MS = 20 };

static enum tg_code open_endpoints(struct rpc_client *client, const struct rpc_peer *peer,
                                   struct tg_error *err)
{
    size_t count = peer->endpoints.count;
    char *const *addresses = peer->endpoints.items;
    TG_ENSURE(count >= 1 && count <= RPC_ENDPOINTS_MAX, err, TG_INVALID_ARGUMENT,
              "%s: 1 to %d endpoints are needed", client->name, RPC_ENDPOINTS_MAX);
    client->endpoints = calloc(count, sizeof *client->endpoints);
    TG_ENSURE(client->endpoints != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: out of memory", client->name);
    for (; client->endpoint_count < count; client->endpoint_count++)
        TG_TRY(rpc_endpoint_open(&client->endpoints[client->endpoint_count], client->name,
                                 addresses[client->endpoint_count], &peer->tls, err));
    return TG_OK;
}

static void init_waiting(struct rpc_client *client)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
}

enum tg_code rpc_client_open(struct rpc_client **out, const char *name, const struct rpc_peer *peer,
                             struct tg_error *err)
{
    struct rpc_client *client = calloc(1, sizeof *client);
    TG_ENSURE(client != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the client of %s", name);
    init_waiting(client);
    client->name = strdup(name);
    enum tg_code code = client->name != NULL
                            ? open_endpoints(client, peer, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory for the client of %s", name);
    if (code != TG_OK) {
        rpc_client_close(client);
        return code;
    }
    *out = client;
    return TG_OK;
}

/* nng 1.5.2 breaks when a socket is closed while a thread is inside nng_ctx_send or nng_ctx_recv: so the
 * calls end first. True: some had to be cancelled. */
static bool end_calls(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    bool cancelled = client->active > 0;
    while (client->active > 0) {
        uint64_t at_ms = clock_now_ms() + CANCEL_AGAIN_MS;
        struct timespec until = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
        rpc_outgoing_cancel_all(client);
        (void)pthread_cond_timedwait(&client->idle, &client->lock, &until);
    }
    pthread_mutex_unlock(&client->lock);
    return cancelled;
}

void rpc_client_close(struct rpc_client *client)
{
    if (client == NULL)
        return;
    bool cancelled = end_calls(client);
    rpc_outgoing_free_all(client);
    for (size_t i = 0; i < client->endpoint_count; i++)
        rpc_endpoint_close(&client->endpoints[i], cancelled ? CLOSE_SETTLE_MS : 0);
    pthread_cond_destroy(&client->idle);
    pthread_mutex_destroy(&client->lock);
    free(client->endpoints);
    free(client->name);
    free(client);
}

bool rpc_client_ready(const struct rpc_client *client)
{
    for (size_t i = 0; i < client->endpoint_count; i++)
        if (rpc_endpoint_ready(&client->endpoints[i]))
            return true;
    return false;
}

void rpc_start(struct rpc_client *client, const struct rpc_request *request, rpc_done *done, void *arg)
{
    rpc_outgoing_start(client, request, false, done, arg);
}

/* ---- the blocking form ---- */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    enum tg_code status;
    struct tg_error *err;
    ProtobufCMessage **response;
};

static void on_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct wait *w = arg;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->status = status;
    if (status != TG_OK)
        (void)tg_fail(w->err, status, "%s", text);
    union {
        const ProtobufCMessage *in;
        ProtobufCMessage *out;
    } kept = {.in = response}; /* ours: the call was started with `keep` */
    *w->response = kept.out;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

enum tg_code rpc_call_wait(struct rpc_client *client, const struct rpc_request *request,
                           ProtobufCMessage **response, struct tg_error *err)
{
    struct wait w = {.lock = PTHREAD_MUTEX_INITIALIZER,
                     .ended = PTHREAD_COND_INITIALIZER,
                     .err = err,
                     .response = response};
    *response = NULL;
    rpc_outgoing_start(client, request, true, on_done, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.status;
}

void rpc_free_response(ProtobufCMessage *response)
{
    pb_free(response);
}
