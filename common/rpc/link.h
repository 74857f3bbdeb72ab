/* One REQ socket that dials one address, with its contexts. An endpoint keeps a link until it is no good any
 * more and then makes another; attempts hold the link they were started on. */
#ifndef TG_COMMON_RPC_LINK_H
#define TG_COMMON_RPC_LINK_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/error.h"

struct rpc_link {
    char *name; /* of the client, for the log */
    char *address;
    nng_socket socket;
    atomic_int connections; /* as far as nng has told */
    atomic_bool fresh;      /* connected since somebody last asked */
    atomic_int owners;

    pthread_mutex_t lock;
    nng_ctx *idle; /* contexts that no attempt uses */
    size_t idle_count, idle_size;
};

/* Starts to dial in the background. tls: NULL unless the address is tls+tcp://; borrowed for the call. */
enum tg_code rpc_link_open(struct rpc_link **out, const char *name, const char *address, nng_tls_config *tls,
                           struct tg_error *err) TG_MUST_CHECK;

void rpc_link_hold(struct rpc_link *link);
/* The last one out closes the socket, in the background. */
void rpc_link_let_go(struct rpc_link *link);
/* As rpc_link_let_go for the only owner, and waits for it, for a bounded time. settle_ms: how long answers
 * that nobody waits for any more may still arrive. */
void rpc_link_close(struct rpc_link *link, unsigned settle_ms);

/* A context for one attempt; false when memory is out. */
bool rpc_link_take(struct rpc_link *link, nng_ctx *out);
void rpc_link_give_back(struct rpc_link *link, nng_ctx ctx);

#endif
