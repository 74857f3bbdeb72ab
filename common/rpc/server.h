/* Inside of the RPC server: a server has listeners, a listener has `in_flight` slots, a slot (struct
 * rpc_call) receives a request, hands it to the handler, sends the answer and receives again. */
#ifndef TG_COMMON_RPC_SERVER_H
#define TG_COMMON_RPC_SERVER_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/envelope.h"
#include "common/rpc/rpc.h"

typedef atomic_uint_fast64_t rpc_counts[TG_CODE_COUNT];

struct rpc_server {
    struct rpc_route *routes;
    size_t route_count;
    rpc_counts *answered; /* for each route; the last one: calls of no method that this server has */
    void *context;
    unsigned in_flight;
    struct rpc_socket *sockets; /* list; changed only by the thread that opens and closes */
    bool held;                  /* that thread's too: slots are started by rpc_server_serve */

    pthread_mutex_t lock;
    pthread_cond_t idle;
    atomic_uint busy; /* calls taken and not yet answered; changed under the lock */
    bool draining;
};

struct rpc_socket {
    nng_socket socket;
    struct rpc_call **slots;
    unsigned slot_count;
    struct rpc_socket *next;
};

/* Owned by two: the server until it closes, and the handler while a call is unanswered. What the handler may
 * touch after the server has closed lies in the first part. */
struct rpc_call {
    void *context;
    enum rpc_role role;
    struct rpc_incoming incoming;
    const ProtobufCMessageDescriptor *output;
    uint64_t deadline_ms;
    enum tg_code status; /* of its answer */
    atomic_int owners;

    pthread_mutex_t lock; /* over `closed` and starting to send: an answer may come while the server closes */
    bool closed;

    struct rpc_server *server;
    nng_ctx ctx;
    nng_aio *receive;
    nng_aio *send;
    bool counted; /* in server->busy */
};

/* A slot that waits for its first request. NULL: nng or memory gave out. */
struct rpc_call *rpc_slot_open(struct rpc_server *server, nng_socket socket, enum rpc_role role);
void rpc_slot_start(struct rpc_call *call);
/* Ends all that nng does with the slot and lets go of the server's half. */
void rpc_slot_close(struct rpc_call *call);

#endif
