#include "common/rpc/server.h"
#include "common/rpc/threads.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdlib.h>

#include "common/monotonic.h"
#include "common/rpc/address.h"
#include "common/rpc/closer.h"
#include "common/rpc/nng_repairs.h"
#include "common/rpc/tls.h"

enum { IN_FLIGHT_MAX = 4096, SOCKET_MODE = 0600, CLOSE_SETTLE_MS = 20, CLOSE_WAIT_MS = 2000 };

static enum tg_code fill_routes(struct rpc_server *server, const struct rpc_method *methods,
                                struct tg_error *err)
{
    size_t count = 0;
    while (methods[count].name != NULL)
        count++;
    server->routes = calloc(count + 1, sizeof *server->routes);
    server->answered = calloc(count + 1, sizeof *server->answered);
    TG_ENSURE(server->routes != NULL && server->answered != NULL, err, TG_RESOURCE_EXHAUSTED,
              "out of memory for the RPC server");
    for (size_t i = 0; i < count; i++) {
        TG_TRY(rpc_route_find(methods[i].service, methods[i].name, &server->routes[i], err));
        server->routes[i].method = &methods[i];
    }
    server->route_count = count;
    return TG_OK;
}

enum tg_code rpc_server_open(struct rpc_server **out, const struct rpc_method *methods, void *context,
                             unsigned in_flight, struct tg_error *err)
{
    TG_ENSURE(in_flight >= 1 && in_flight <= IN_FLIGHT_MAX, err, TG_INVALID_ARGUMENT,
              "calls in flight must be 1 to %d", IN_FLIGHT_MAX);
    struct rpc_server *server = calloc(1, sizeof *server);
    TG_ENSURE(server != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the RPC server");
    server->context = context;
    server->in_flight = in_flight;
    monotonic_cond_init(&server->idle);
    pthread_mutex_init(&server->lock, NULL);
    enum tg_code code = fill_routes(server, methods, err);
    if (code != TG_OK) {
        rpc_server_close(server);
        return code;
    }
    *out = server;
    return TG_OK;
}

/* Slots first: nng 1.5.2 breaks when a socket is closed while a thread is inside nng_ctx_send or
 * nng_ctx_recv. Without slots each connection reads one more message and then falls silent, which makes
 * closing safe (closer.h): it is given a moment for that. */
static void socket_free(struct rpc_socket *s)
{
    for (unsigned i = 0; i < s->slot_count; i++)
        rpc_slot_close(s->slots[i]);
    (void)rpc_closer_wait(rpc_closer_start(s->socket, CLOSE_SETTLE_MS, NULL, NULL), CLOSE_WAIT_MS);
    free(s->slots);
    free(s);
}

static enum tg_code set_options(nng_listener nl, const struct rpc_listener *listener,
                                const struct rpc_address *address, struct tg_error *err)
{
    int rv = nng_listener_set_size(nl, NNG_OPT_RECVMAXSZ, RPC_MESSAGE_MAX);
    if (rv == 0 && address->transport == RPC_IPC)
        rv = nng_listener_set_int(nl, NNG_OPT_IPC_PERMISSIONS, SOCKET_MODE);
    if (rv == 0 && address->transport == RPC_TLS) {
        nng_tls_config *config = NULL;
        TG_TRY(rpc_tls_config(&listener->tls, NULL, &config, err));
        rv = nng_listener_set_ptr(nl, NNG_OPT_TLS_CONFIG, config);
        nng_tls_config_free(config); /* the listener holds its own reference */
    }
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "cannot set up %s: %s", listener->address, nng_strerror(rv));
    return TG_OK;
}

static enum tg_code bind_address(struct rpc_socket *s, const struct rpc_listener *listener,
                                 struct tg_error *err)
{
    struct rpc_address address;
    TG_TRY(rpc_address_parse(listener->address, &address, err));
    TG_TRY(rpc_address_check_bind(&address, err));
    nng_listener nl;
    int rv = nng_listener_create(&nl, s->socket, listener->address);
    TG_ENSURE(rv == 0, err, TG_INVALID_ARGUMENT, "%s is no address to listen on: %s", listener->address,
              nng_strerror(rv));
    TG_TRY(set_options(nl, listener, &address, err));
    rv = nng_listener_start(nl, 0);
    TG_ENSURE(rv == 0, err, TG_UNAVAILABLE, "cannot listen on %s: %s", listener->address, nng_strerror(rv));
    return TG_OK;
}

static void start_slots(struct rpc_socket *s)
{
    for (unsigned i = 0; i < s->slot_count; i++)
        rpc_slot_start(s->slots[i]);
}

static enum tg_code fill_slots(struct rpc_server *server, struct rpc_socket *s, enum rpc_role role,
                               struct tg_error *err)
{
    s->slots = calloc(server->in_flight, sizeof(struct rpc_call *));
    TG_ENSURE(s->slots != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the RPC server");
    for (; s->slot_count < server->in_flight; s->slot_count++) {
        s->slots[s->slot_count] = rpc_slot_open(server, s->socket, role);
        TG_ENSURE(s->slots[s->slot_count] != NULL, err, TG_RESOURCE_EXHAUSTED,
                  "out of memory for %u calls in flight", server->in_flight);
    }
    if (!server->held)
        start_slots(s);
    return TG_OK;
}

void rpc_server_hold(struct rpc_server *server)
{
    server->held = true;
}

void rpc_server_serve(struct rpc_server *server)
{
    TG_INVARIANT(server->held);
    server->held = false;
    for (struct rpc_socket *s = server->sockets; s != NULL; s = s->next)
        start_slots(s);
}

enum tg_code rpc_server_listen(struct rpc_server *server, const struct rpc_listener *listener,
                               struct tg_error *err)
{
    struct rpc_socket *s = calloc(1, sizeof *s);
    TG_ENSURE(s != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the RPC server");
    rpc_threads_end_with_process();
    rpc_nng_repairs();
    int rv = nng_rep0_open(&s->socket);
    if (rv != 0) {
        free(s);
        return tg_fail(err, TG_INTERNAL, "cannot open a socket for %s: %s", listener->address,
                       nng_strerror(rv));
    }
    enum tg_code code = fill_slots(server, s, (enum rpc_role)(1 << listener->role), err);
    if (code == TG_OK)
        code = bind_address(s, listener, err);
    if (code != TG_OK) {
        socket_free(s);
        return code;
    }
    s->next = server->sockets;
    server->sockets = s;
    return TG_OK;
}

bool rpc_server_drain(struct rpc_server *server, unsigned timeout_ms)
{
    uint64_t until_ms = clock_now_ms() + timeout_ms;
    pthread_mutex_lock(&server->lock);
    server->draining = true;
    while (server->busy > 0 && monotonic_wait(&server->idle, &server->lock, until_ms))
        ;
    bool drained = server->busy == 0;
    pthread_mutex_unlock(&server->lock);
    return drained;
}

void rpc_server_close(struct rpc_server *server)
{
    if (server == NULL)
        return;
    while (server->sockets != NULL) {
        struct rpc_socket *s = server->sockets;
        server->sockets = s->next;
        socket_free(s);
    }
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server->routes);
    free(server->answered);
    free(server);
}

static void write_counts(const char *method, const rpc_counts counts, struct metrics *out)
{
    for (unsigned code = 0; code < TG_CODE_COUNT; code++) {
        uint64_t count = atomic_load(&counts[code]);
        if (count > 0)
            metrics_value(out, count, "method", method, "code", tg_code_name(code), NULL);
    }
}

void rpc_server_metrics(const struct rpc_server *server, struct metrics *out)
{
    metrics_family(out, METRIC_COUNTER, "ticketgate_rpc_calls_total",
                   "Calls answered, by method and status; those of no method are not ours.");
    for (size_t i = 0; i < server->route_count; i++)
        write_counts(server->routes[i].name, server->answered[i], out);
    write_counts("", server->answered[server->route_count], out);
    metrics_one(out, METRIC_GAUGE, "ticketgate_rpc_calls_in_flight", "Calls taken and not yet answered.",
                atomic_load(&server->busy));
}
