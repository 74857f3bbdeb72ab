#include "common/rpc/link.h"

#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rpc/closer.h"
#include "common/rpc/nng_repairs.h"
#include "common/rpc/rpc.h"
#include "common/rpc/threads.h"

enum {
    RECONNECT_MIN_MS = 20, /* a restarted service is found again within these two */
    RECONNECT_MAX_MS = 500,
    CLOSE_WAIT_MS = 2000
};

static void on_connected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct rpc_link *link = arg;
    (void)pipe;
    (void)event;
    atomic_fetch_add(&link->connections, 1);
    atomic_store(&link->fresh, true);
    LOG(LOG_INFO, NULL, "rpc.connected", LOG_TEXT("peer", link->name), LOG_TEXT("address", link->address));
}

static void on_disconnected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct rpc_link *link = arg;
    (void)pipe;
    (void)event;
    atomic_fetch_sub(&link->connections, 1);
    LOG(LOG_INFO, NULL, "rpc.disconnected", LOG_TEXT("peer", link->name), LOG_TEXT("address", link->address));
}

static int set_options(struct rpc_link *link)
{
    int rv = nng_socket_set_ms(link->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (rv == 0)
        rv = nng_socket_set_size(link->socket, NNG_OPT_RECVMAXSZ, RPC_MESSAGE_MAX);
    if (rv == 0)
        rv = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    if (rv == 0)
        rv = nng_pipe_notify(link->socket, NNG_PIPE_EV_ADD_POST, on_connected, link);
    if (rv == 0)
        rv = nng_pipe_notify(link->socket, NNG_PIPE_EV_REM_POST, on_disconnected, link);
    return rv;
}

static int dial(struct rpc_link *link, nng_tls_config *tls)
{
    nng_dialer dialer;
    int rv = set_options(link);
    if (rv == 0)
        rv = nng_dialer_create(&dialer, link->socket, link->address);
    if (rv == 0 && tls != NULL)
        rv = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls);
    if (rv == 0)
        rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    return rv;
}

static void link_free(void *arg)
{
    struct rpc_link *link = arg;
    if (link == NULL)
        return;
    pthread_mutex_destroy(&link->lock);
    free(link->idle);
    free(link->address);
    free(link->name);
    free(link);
}

static struct rpc_link *link_new(const char *name, const char *address)
{
    struct rpc_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    pthread_mutex_init(&link->lock, NULL);
    atomic_init(&link->owners, 1);
    link->name = strdup(name);
    link->address = strdup(address);
    if (link->name != NULL && link->address != NULL)
        return link;
    link_free(link);
    return NULL;
}

enum tg_code rpc_link_open(struct rpc_link **out, const char *name, const char *address, nng_tls_config *tls,
                           struct tg_error *err)
{
    rpc_threads_end_with_process();
    rpc_nng_repairs();
    struct rpc_link *link = link_new(name, address);
    TG_ENSURE(link != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for calls to %s", name);
    int rv = nng_req0_open(&link->socket);
    if (rv != 0) {
        link_free(link);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "cannot open a socket for %s: %s", address,
                       nng_strerror(rv));
    }
    rv = dial(link, tls);
    if (rv != 0) {
        rpc_link_close(link, 0);
        return tg_fail(err, TG_INVALID_ARGUMENT, "%s cannot be called: %s", address, nng_strerror(rv));
    }
    *out = link;
    return TG_OK;
}

void rpc_link_hold(struct rpc_link *link)
{
    atomic_fetch_add(&link->owners, 1);
}

static void close_contexts(struct rpc_link *link)
{
    for (size_t i = 0; i < link->idle_count; i++)
        (void)nng_ctx_close(link->idle[i]);
    link->idle_count = 0;
}

void rpc_link_let_go(struct rpc_link *link)
{
    if (atomic_fetch_sub(&link->owners, 1) != 1)
        return;
    close_contexts(link);
    rpc_closer_let_go(rpc_closer_start(link->socket, 0, link_free, link));
}

void rpc_link_close(struct rpc_link *link, unsigned settle_ms)
{
    TG_INVARIANT(atomic_load(&link->owners) == 1);
    close_contexts(link);
    (void)rpc_closer_wait(rpc_closer_start(link->socket, settle_ms, link_free, link), CLOSE_WAIT_MS);
}

bool rpc_link_take(struct rpc_link *link, nng_ctx *out)
{
    pthread_mutex_lock(&link->lock);
    bool found = link->idle_count > 0;
    if (found)
        *out = link->idle[--link->idle_count];
    pthread_mutex_unlock(&link->lock);
    return found || nng_ctx_open(out, link->socket) == 0;
}

/* Under the lock. */
static bool keep(struct rpc_link *link, nng_ctx ctx)
{
    if (link->idle_count == link->idle_size) {
        size_t size = link->idle_size == 0 ? 16 : 2 * link->idle_size;
        nng_ctx *grown = realloc(link->idle, size * sizeof *grown);
        if (grown == NULL)
            return false;
        link->idle = grown;
        link->idle_size = size;
    }
    link->idle[link->idle_count++] = ctx;
    return true;
}

void rpc_link_give_back(struct rpc_link *link, nng_ctx ctx)
{
    pthread_mutex_lock(&link->lock);
    bool kept = keep(link, ctx);
    pthread_mutex_unlock(&link->lock);
    if (!kept)
        (void)nng_ctx_close(ctx);
}
