/* gRPC-style calls over nng (DESIGN.md 2). Contracts are protobuf services (proto/); one REQ/REP exchange
 * a call.
 *
 * Server: a table row is a method, who may call it, and its handler. A handler must not block: it answers
 * at once or keeps the call and answers later, from any thread, exactly once.
 *
 * Client: one deadline spans all attempts; only UNAVAILABLE (never processed) is tried again, at most 4
 * attempts in all, with full jitter and a retry throttle; a breaker per endpoint. */
#ifndef TG_COMMON_RPC_RPC_H
#define TG_COMMON_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/metrics/metrics.h"
#include "common/trace.h"

enum rpc_limits {
    RPC_MESSAGE_MAX = 256 * 1024, /* of every socket; a larger message closes that peer's connection */
    RPC_ATTEMPTS_MAX = 4,
    RPC_ENDPOINTS_MAX = 16, /* of one peer */
    RPC_BUDGET_MAX_MS = 120000
};

/* Who is calling: a listener exposes one role and trusts only the CA of that role's callers. */
enum rpc_role {
    RPC_ROLE_GATEWAY = 1 << 0,
    RPC_ROLE_RESOLVER = 1 << 1,
    RPC_ROLE_CHARGER = 1 << 2,
    RPC_ROLE_OPERATOR = 1 << 3,
    RPC_ROLE_SERVICE = 1 << 4,
    RPC_ROLE_ANY = (1 << 5) - 1
};

/* Certificate, key and the CA to trust, as PEM files. Ignored for ipc:// and inproc:// addresses. */
struct rpc_tls {
    char *certificate;
    char *key;
    char *ca;
};

/* One listener, as a service's configuration names it: rows in rpc_listener_rows. */
struct rpc_listener {
    /* tls+tcp://host:port, ipc:///path (made 0600) or, in tests, inproc://name. Nothing else. */
    char *address;
    int role;           /* index into rpc_role_names; 1 << role is the enum rpc_role */
    struct rpc_tls tls; /* ca: of the callers of this role */
};
/* One service to call: rows in rpc_peer_rows. */
struct rpc_peer {
    struct config_list endpoints; /* char *: same addresses as above */
    struct rpc_tls tls;           /* ca: of the servers */
};
extern const char *const rpc_role_names[]; /* gateway, resolver, charger, operator, service, NULL */
/* address, role, certificate, key, ca: for CONFIG_TABLES */
extern const struct config_row rpc_listener_rows[];

/* Rows for one service to call, as a nested mapping in the table of a service's own configuration:
 *     RPC_PEER_ROWS("key_store.", struct resolver_config, key_store),
 * puts `key_store: {endpoints: [..], certificate, key, ca}` into the member `struct rpc_peer key_store`. */
#define RPC_PEER_ROWS(prefix, type_, member)                                                                 \
    {.key = prefix "endpoints",                                                                              \
     .type = CONFIG_STRINGS,                                                                                 \
     .offset = offsetof(type_, member.endpoints),                                                            \
     .min = 1,                                                                                               \
     .max = RPC_ENDPOINTS_MAX,                                                                               \
     .help = "Addresses of the service: tls+tcp://host:port or ipc:///path"},                                \
        RPC_PEER_TLS_ROW_(prefix "certificate", type_, member.tls.certificate,                               \
                          "Our certificate (PEM); not used for ipc://"),                                     \
        RPC_PEER_TLS_ROW_(prefix "key", type_, member.tls.key, "Its private key (PEM, mode 0400)"),          \
        RPC_PEER_TLS_ROW_(prefix "ca", type_, member.tls.ca,                                                 \
                          "The CA that signs the servers' certificates (PEM)")
#define RPC_PEER_TLS_ROW_(key_, type_, member, help_)                                                        \
    {                                                                                                        \
        .key = key_, .type = CONFIG_PATH, .offset = offsetof(type_, member), .fallback = CONFIG_OPTIONAL,    \
        .help = help_                                                                                        \
    }

/* ---- server ---- */

struct rpc_server;
struct rpc_call; /* one incoming call; belongs to the handler until rpc_reply or rpc_fail */

/* `request` is borrowed until the handler answers the call. */
typedef void rpc_handler(struct rpc_call *call, const ProtobufCMessage *request);

struct rpc_method {
    const ProtobufCServiceDescriptor *service; /* &tg__key_store__descriptor */
    const char *name;                          /* "Spend" */
    unsigned roles;                            /* enum rpc_role, or'ed */
    rpc_handler *handle;
};

/* `methods` ends with a row whose name is NULL and is borrowed for the server's life, like `context`. Every
 * name must be a method of its service: otherwise INTERNAL. `in_flight`: how many calls at once (1 to 4096);
 * more wait. */
enum tg_code rpc_server_open(struct rpc_server **server, const struct rpc_method *methods, void *context,
                             unsigned in_flight, struct tg_error *err) TG_MUST_CHECK;

/* Starts to serve one listener. Several may be added, each for one role. INVALID_ARGUMENT for an address that
 * is not one of the above or lacks its TLS files; UNAVAILABLE when it cannot be bound. The text names address
 * and reason. */
enum tg_code rpc_server_listen(struct rpc_server *server, const struct rpc_listener *listener,
                               struct tg_error *err) TG_MUST_CHECK;

/* Between the two, listeners are bound but take no call: what callers send waits. So a service can bind while
 * it has the privilege to, and serve once it is ready. */
void rpc_server_hold(struct rpc_server *server);
void rpc_server_serve(struct rpc_server *server);

/* Stops taking new calls, waits up to timeout_ms until those in flight are answered. True: all were. */
bool rpc_server_drain(struct rpc_server *server, unsigned timeout_ms);
/* Closes all; calls still unanswered may be answered later without harm (into the void). NULL is fine. */
void rpc_server_close(struct rpc_server *server);

/* Calls answered, by method and status, and those under way. Any thread, until the server is closed. */
void rpc_server_metrics(const struct rpc_server *server, struct metrics *out);

/* Of a call, from any thread until it is answered. */
void *rpc_call_context(const struct rpc_call *call);
enum rpc_role rpc_call_role(const struct rpc_call *call);
const char *rpc_call_trace(const struct rpc_call *call);         /* 32 hex digits, or "" */
const uint8_t *rpc_call_request_id(const struct rpc_call *call); /* REQUEST_ID_LEN bytes */
const ProtobufCMessage *rpc_call_request(const struct rpc_call *call);
uint32_t rpc_call_remaining_ms(const struct rpc_call *call); /* 0: expired; drop the work, rpc_fail it */

/* Answer; consumes the call; `response` is packed at once and stays the caller's. Any thread. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response);
/* Text for the peer, a service of ours: says what was wrong, never a secret. */
void rpc_fail(struct rpc_call *call, enum tg_code code, const char *fmt, ...) TG_PRINTF(3, 4);

/* ---- client ---- */

struct rpc_client;

/* Connects in the background and stays connected; never fails because the peer is down. INVALID_ARGUMENT for
 * an address or TLS file that cannot be used: the text names it. `name` is for messages ("key store"); all is
 * copied. */
enum tg_code rpc_client_open(struct rpc_client **client, const char *name, const struct rpc_peer *peer,
                             struct tg_error *err) TG_MUST_CHECK;
/* Waits for calls under way (they end with CANCELLED at the latest at their deadline). NULL is fine. */
void rpc_client_close(struct rpc_client *client);
/* True when a call would be tried now: at least one endpoint is connected, and its breaker is closed or lets
 * a probe through. For readiness. Any thread. */
bool rpc_client_ready(const struct rpc_client *client);

struct rpc_request {
    const ProtobufCServiceDescriptor *service;
    const char *method;
    const ProtobufCMessage *message; /* packed at once; stays the caller's */
    uint32_t budget_ms;              /* for all attempts together, 1 to RPC_BUDGET_MAX_MS */
    const char *trace;               /* NULL or 32 hex digits */
    const uint8_t *request_id;       /* NULL: a fresh one */
    bool
        idempotent; /* try again also when the connection broke after sending: the server knows request ids */
};

/* status OK: response is a message of the method's output type, borrowed until the callback returns, and
 * wiped after. Otherwise response is NULL and text says what was wrong, starting with the client's name.
 * Called exactly once, on a thread of nng's: it must not block, nor call rpc_client_close. */
typedef void rpc_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response);

/* The text, after the client's name, of a call that was not tried because a breaker is open: no news of what
 * is wrong. */
#define RPC_RESTING "it failed again and again and is given a moment's rest"

/* Never fails to call `done`; it may call it before it returns. Any thread. */
void rpc_start(struct rpc_client *client, const struct rpc_request *request, rpc_done *done, void *arg);

/* Blocking form, for tools and tests. On OK *response is the caller's: rpc_free_response wipes and frees. */
enum tg_code rpc_call_wait(struct rpc_client *client, const struct rpc_request *request,
                           ProtobufCMessage **response, struct tg_error *err) TG_MUST_CHECK;
void rpc_free_response(ProtobufCMessage *response);

#endif
