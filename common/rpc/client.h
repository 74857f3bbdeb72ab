/* Inside of the RPC client: a client has endpoints (one per address) and outgoing calls, which are kept for
 * the next call when they end: nng forbids freeing an aio in its own callback. */
#ifndef TG_COMMON_RPC_CLIENT_H
#define TG_COMMON_RPC_CLIENT_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/breaker.h"
#include "common/rpc/envelope.h"
#include "common/rpc/link.h"
#include "common/rpc/rpc.h"

struct rpc_endpoint {
    const char *name; /* of the client; borrowed */
    char *address;
    nng_tls_config *tls; /* NULL unless the address is tls+tcp:// */

    pthread_mutex_t lock; /* over what follows */
    struct breaker breaker;
    struct rpc_link *link;
    uint64_t good_ms;     /* when it last connected or answered */
    uint64_t renew_at_ms; /* not before */
    unsigned renewals;    /* since it last answered */
};

struct rpc_client {
    char *name;
    struct rpc_endpoint *endpoints;
    size_t endpoint_count;
    atomic_uint next; /* round robin */

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t idle;
    struct throttle throttle;
    struct rpc_outgoing *free_calls;
    struct rpc_outgoing *all_calls;
    size_t active;
    bool closing;
};

/* ---- endpoint.c ---- */

enum tg_code rpc_endpoint_open(struct rpc_endpoint *e, const char *name, const char *address,
                               const struct rpc_tls *tls, struct tg_error *err) TG_MUST_CHECK;
/* Only when no attempt is under way. settle_ms: as rpc_link_close. */
void rpc_endpoint_close(struct rpc_endpoint *e, unsigned settle_ms);
bool rpc_endpoint_ready(struct rpc_endpoint *e);
/* The next one in turn whose breaker lets a call through, those that are connected first. NULL: none. */
struct rpc_endpoint *rpc_endpoint_choose(struct rpc_client *client);

struct rpc_attempt {
    struct rpc_link *link;
    nng_ctx ctx;
};
/* False when memory is out. */
bool rpc_endpoint_begin(struct rpc_endpoint *e, struct rpc_attempt *attempt);
enum attempt_result {
    ATTEMPT_ANSWERED,
    ATTEMPT_FAILED,         /* the connection was lost, or the server answered UNAVAILABLE */
    ATTEMPT_SILENT,         /* not connected in time, or no answer */
    ATTEMPT_WITHOUT_VERDICT /* says nothing about the server */
};
void rpc_endpoint_end(struct rpc_endpoint *e, struct rpc_attempt *attempt, enum attempt_result result);

/* ---- outgoing.c ---- */

/* As rpc_start; with `keep` the response is the callback's to free. */
void rpc_outgoing_start(struct rpc_client *client, const struct rpc_request *request, bool keep,
                        rpc_done *done, void *arg);
/* Under the client's lock, when it is closing: hurries calls under way to their end. To be called again and
 * again, because one that is between two steps is missed. */
void rpc_outgoing_cancel_all(struct rpc_client *client);
/* Frees all calls of a client that has none under way. */
void rpc_outgoing_free_all(struct rpc_client *client);

#endif
