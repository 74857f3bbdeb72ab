/* A small HTTP/1.1 server for our services, over libmicrohttpd: metrics and health (plain, on loopback) and
 * the interfaces that other systems call (TLS 1.2 or later with mutual authentication). One thread of its
 * own; handlers run on it and must not block: what takes time is answered later, from any thread.
 *
 * What strangers can make it hold is bounded: connections in all and from one address, the size of headers
 * (a few KiB) and bodies, and how long a connection may be silent. */
#ifndef TG_COMMON_HTTP_HTTP_H
#define TG_COMMON_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/rpc/rpc.h"

enum http_limits {
    HTTP_BODY_MAX = 64 * 1024, /* unless the options say otherwise */
    HTTP_PATH_MAX = 512,
    HTTP_SEGMENTS_MAX = 5,
    HTTP_PEER_MAX = 255,
    HTTP_CONNECTIONS_MAX = 128,
    HTTP_CONNECTIONS_PER_ADDRESS_MAX = 32,
    HTTP_SILENCE_MAX_S = 15
};

enum http_method {
    HTTP_GET = 1 << 0,
    HTTP_HEAD = 1 << 1, /* the handler answers it as GET; the body stays here */
    HTTP_POST = 1 << 2,
    HTTP_PUT = 1 << 3,
    HTTP_DELETE = 1 << 4,
    HTTP_READ = HTTP_GET | HTTP_HEAD /* only for handlers that change nothing: HEAD delivers nothing */
};

struct http_server;
struct http_request; /* belongs to the handler until http_reply or one of its kin */

typedef void http_handler(struct http_request *request);

/* One row: what may be asked, and who answers. "{}" stands for exactly one segment, not empty:
 * "/api/v1/keys/{}/status". The first row that matches a path and has the method is taken. */
struct http_route {
    unsigned methods; /* enum http_method, or'ed */
    const char *path;
    http_handler *handle;
};

/* All borrowed: routes for the server's life, the rest for the call. */
struct http_options {
    const char *address;             /* "127.0.0.1:9464", "[::1]:9464", "localhost:0" (any free port) */
    const struct rpc_tls *tls;       /* NULL: plain. Otherwise all three; ca: of the callers */
    const struct http_route *routes; /* ended by path NULL */
    void *context;                   /* of every request */
    size_t body_max;                 /* 0: HTTP_BODY_MAX */
    unsigned connections_max;        /* 0: HTTP_CONNECTIONS_MAX */
    unsigned per_address_max;        /* 0: HTTP_CONNECTIONS_PER_ADDRESS_MAX */
    unsigned silence_max_s;          /* 0: HTTP_SILENCE_MAX_S; not for requests that a handler has */
};

/* Reads the TLS files and binds, for struct service's open: nothing is served yet. INVALID_ARGUMENT (address
 * or files; the text names which), PERMISSION_DENIED, NOT_FOUND, UNAVAILABLE (cannot listen). */
enum tg_code http_server_open(struct http_server **server, const struct http_options *options,
                              struct tg_error *err) TG_MUST_CHECK;
/* Serves: starts the thread. Once. */
enum tg_code http_server_start(struct http_server *server, struct tg_error *err) TG_MUST_CHECK;
/* For connections from now on: certificate, key and CA read anew. On failure the old ones stay. */
enum tg_code http_server_reload(struct http_server *server, const struct rpc_tls *tls,
                                struct tg_error *err) TG_MUST_CHECK;
/* The port it listens on. */
uint16_t http_server_port(const struct http_server *server);
/* Takes no more connections, gives handlers up to timeout_ms to answer what they have, closes all and frees.
 * Who answers after that answers into the void, without harm. True: all was answered. NULL is fine. */
bool http_server_stop(struct http_server *server, unsigned timeout_ms);

/* ---- a request: all borrowed ---- */

/* Until it is answered, from any thread. */
void *http_request_context(const struct http_request *request);
/* What stood in place of the i-th "{}" of the row's path, decoded. The row must have it. */
const char *http_request_segment(const struct http_request *request, unsigned i);
/* The body, *len bytes and a NUL that does not count; wiped with the request. */
const char *http_request_body(const struct http_request *request, size_t *len);
/* Common name of the certificate the caller has proved to have; "" without TLS, or when it names none. */
const char *http_request_peer(const struct http_request *request);
bool http_request_is(const struct http_request *request, enum http_method method);

/* Only within the handler. */
/* Value of ?name=, decoded; "" when it stands there without one; NULL when it does not. */
const char *http_request_argument(const struct http_request *request, const char *name);
const char *http_request_header(const struct http_request *request, const char *name);
/* Is `name` the caller's common name, or a DNS name or URI of its certificate? False without TLS. */
bool http_request_peer_is(const struct http_request *request, const char *name);

/* ---- answering: consumes the request; any thread ---- */

/* `bytes` (len of them) are borrowed until release(arg) is called: exactly once, also when nobody takes the
 * answer any more. release NULL: they are copied at once. `type`: of the content. */
void http_reply(struct http_request *request, unsigned status, const char *type, const void *bytes,
                size_t len, void (*release)(void *arg), void *arg);
/* A short text and a line feed, as text/plain. */
void http_reply_text(struct http_request *request, unsigned status, const char *fmt, ...) TG_PRINTF(3, 4);

#endif
