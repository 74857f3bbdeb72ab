/* Inside of the RPC client: a client has endpoints (a REQ socket each, with a pool of contexts) and outgoing
 * calls, which are kept for the next call when they end: nng forbids freeing an aio in its own callback. */
#ifndef TG_COMMON_RPC_CLIENT_H
#define TG_COMMON_RPC_CLIENT_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/breaker.h"
#include "common/rpc/envelope.h"
#include "common/rpc/rpc.h"

struct rpc_endpoint {
    const char *name; /* of the client; borrowed */
    char *address;
    nng_socket socket;
    atomic_int connections;

    pthread_mutex_t lock; /* over what follows */
    struct breaker breaker;
    nng_ctx *idle; /* contexts that no attempt uses */
    size_t idle_count, idle_size;
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
/* Ends every attempt under way with NNG_ECLOSED. */
void rpc_endpoint_shut(struct rpc_endpoint *e);
void rpc_endpoint_free(struct rpc_endpoint *e);
bool rpc_endpoint_ready(struct rpc_endpoint *e);
/* The next one in turn whose breaker lets a call through, those that are connected first. NULL: none. */
struct rpc_endpoint *rpc_endpoint_choose(struct rpc_client *client);
/* A context for one attempt; false when nng gave out. */
bool rpc_endpoint_take(struct rpc_endpoint *e, nng_ctx *out);
/* Gives it back with the attempt's result. */
enum attempt_result { ATTEMPT_ANSWERED, ATTEMPT_FAILED, ATTEMPT_WITHOUT_VERDICT };
void rpc_endpoint_give_back(struct rpc_endpoint *e, nng_ctx ctx, enum attempt_result result);

/* ---- outgoing.c ---- */

/* As rpc_start; with `keep` the response is the callback's to free. */
void rpc_outgoing_start(struct rpc_client *client, const struct rpc_request *request, bool keep,
                        rpc_done *done, void *arg);
/* Frees all calls of a client that has none under way. */
void rpc_outgoing_free_all(struct rpc_client *client);

#endif
