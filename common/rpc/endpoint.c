/* One address of a service: its connection, its breaker, its contexts. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rpc/address.h"
#include "common/rpc/client.h"
#include "common/rpc/nng_repairs.h"
#include "common/rpc/tls.h"

/* A restarted service is found again within this time. */
enum { RECONNECT_MIN_MS = 20, RECONNECT_MAX_MS = 500 };

/* A fresh connection says more about a server than the failures before it: the breaker closes. */
static void on_connected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct rpc_endpoint *e = arg;
    (void)pipe;
    (void)event;
    pthread_mutex_lock(&e->lock);
    breaker_success(&e->breaker);
    pthread_mutex_unlock(&e->lock);
    atomic_fetch_add(&e->connections, 1);
    LOG(LOG_INFO, NULL, "rpc.connected", LOG_TEXT("peer", e->name), LOG_TEXT("address", e->address));
}

static void on_disconnected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct rpc_endpoint *e = arg;
    (void)pipe;
    (void)event;
    atomic_fetch_sub(&e->connections, 1);
    LOG(LOG_INFO, NULL, "rpc.disconnected", LOG_TEXT("peer", e->name), LOG_TEXT("address", e->address));
}

static int set_socket_options(struct rpc_endpoint *e)
{
    int rv = nng_socket_set_ms(e->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (rv == 0)
        rv = nng_socket_set_size(e->socket, NNG_OPT_RECVMAXSZ, RPC_MESSAGE_MAX);
    if (rv == 0)
        rv = nng_socket_set_ms(e->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(e->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    if (rv == 0)
        rv = nng_pipe_notify(e->socket, NNG_PIPE_EV_ADD_POST, on_connected, e);
    if (rv == 0)
        rv = nng_pipe_notify(e->socket, NNG_PIPE_EV_REM_POST, on_disconnected, e);
    return rv;
}

static enum tg_code set_tls(nng_dialer dialer, const struct rpc_address *address, const struct rpc_tls *tls,
                            struct tg_error *err)
{
    if (address->transport != RPC_TLS)
        return TG_OK;
    TG_TRY(rpc_address_check_name(address, err));
    nng_tls_config *config = NULL;
    TG_TRY(rpc_tls_config(tls, address->host, &config, err));
    int rv = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
    nng_tls_config_free(config); /* the dialer holds its own reference */
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "TLS cannot be set up: %s", nng_strerror(rv));
    return TG_OK;
}

static enum tg_code dial(struct rpc_endpoint *e, const struct rpc_tls *tls, struct tg_error *err)
{
    struct rpc_address address;
    TG_TRY(rpc_address_parse(e->address, &address, err));
    int rv = set_socket_options(e);
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "cannot set up %s: %s", e->address, nng_strerror(rv));
    nng_dialer dialer;
    rv = nng_dialer_create(&dialer, e->socket, e->address);
    TG_ENSURE(rv == 0, err, TG_INVALID_ARGUMENT, "%s is no address to call: %s", e->address,
              nng_strerror(rv));
    TG_TRY(set_tls(dialer, &address, tls, err));
    rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "cannot dial %s: %s", e->address, nng_strerror(rv));
    return TG_OK;
}

enum tg_code rpc_endpoint_open(struct rpc_endpoint *e, const char *name, const char *address,
                               const struct rpc_tls *tls, struct tg_error *err)
{
    e->name = name;
    e->address = strdup(address);
    TG_ENSURE(e->address != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    rpc_nng_repairs();
    int rv = nng_req0_open(&e->socket);
    if (rv != 0) {
        free(e->address);
        return tg_fail(err, TG_INTERNAL, "cannot open a socket for %s: %s", address, nng_strerror(rv));
    }
    pthread_mutex_init(&e->lock, NULL);
    enum tg_code code = dial(e, tls, err);
    if (code != TG_OK) {
        rpc_endpoint_shut(e);
        rpc_endpoint_free(e);
    }
    return code;
}

void rpc_endpoint_shut(struct rpc_endpoint *e)
{
    nng_close(e->socket); /* closes its contexts too */
}

void rpc_endpoint_free(struct rpc_endpoint *e)
{
    pthread_mutex_destroy(&e->lock);
    free(e->idle);
    free(e->address);
}

bool rpc_endpoint_ready(struct rpc_endpoint *e)
{
    pthread_mutex_lock(&e->lock);
    bool closed = breaker_is_closed(&e->breaker);
    pthread_mutex_unlock(&e->lock);
    return closed && atomic_load(&e->connections) > 0;
}

static bool allows(struct rpc_endpoint *e)
{
    pthread_mutex_lock(&e->lock);
    bool allowed = breaker_allow(&e->breaker, clock_now_ms());
    pthread_mutex_unlock(&e->lock);
    return allowed;
}

struct rpc_endpoint *rpc_endpoint_choose(struct rpc_client *client)
{
    unsigned first = atomic_fetch_add(&client->next, 1);
    for (int connected = 1; connected >= 0; connected--) {
        for (size_t i = 0; i < client->endpoint_count; i++) {
            struct rpc_endpoint *e = &client->endpoints[(first + i) % client->endpoint_count];
            if ((atomic_load(&e->connections) > 0) == (connected == 1) && allows(e))
                return e;
        }
    }
    return NULL;
}

bool rpc_endpoint_take(struct rpc_endpoint *e, nng_ctx *out)
{
    pthread_mutex_lock(&e->lock);
    bool found = e->idle_count > 0;
    if (found)
        *out = e->idle[--e->idle_count];
    pthread_mutex_unlock(&e->lock);
    return found || nng_ctx_open(out, e->socket) == 0;
}

/* Under the endpoint's lock. */
static bool keep_context(struct rpc_endpoint *e, nng_ctx ctx)
{
    if (e->idle_count == e->idle_size) {
        size_t size = e->idle_size == 0 ? 16 : 2 * e->idle_size;
        nng_ctx *grown = realloc(e->idle, size * sizeof *grown);
        if (grown == NULL)
            return false;
        e->idle = grown;
        e->idle_size = size;
    }
    e->idle[e->idle_count++] = ctx;
    return true;
}

void rpc_endpoint_give_back(struct rpc_endpoint *e, nng_ctx ctx, enum attempt_result result)
{
    pthread_mutex_lock(&e->lock);
    if (result == ATTEMPT_ANSWERED)
        breaker_success(&e->breaker);
    else if (result == ATTEMPT_FAILED)
        breaker_failure(&e->breaker, clock_now_ms());
    bool kept = keep_context(e, ctx);
    pthread_mutex_unlock(&e->lock);
    if (!kept)
        (void)nng_ctx_close(ctx);
}
