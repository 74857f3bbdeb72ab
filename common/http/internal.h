/* Inside of the HTTP server: what its files share. */
#ifndef TG_COMMON_HTTP_INTERNAL_H
#define TG_COMMON_HTTP_INTERNAL_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/http/http.h"

/* Certificate, key and CA as they are now; connections that began with older ones hold on to those. */
struct http_credentials {
    gnutls_certificate_credentials_t certificate;
    atomic_uint holders;
};

struct http_server {
    const struct http_route *routes;
    void *context;
    size_t body_max;
    unsigned connections_max, per_address_max, silence_max_s;
    int fd; /* -1: handed to MHD */
    uint16_t port;
    bool ipv6, tls;
    struct MHD_Daemon *daemon;
    atomic_uint holders; /* the owner, and each request that a handler has */

    pthread_mutex_t lock; /* over all below, and over the state of every request */
    pthread_cond_t idle;
    struct http_credentials *credentials; /* NULL: plain */
    struct http_request *pending;         /* requests that a handler has: list */
    bool stopping;
};

/* Owned by two: MHD's connection until it is through, and the handler until it answers. */
struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection; /* MHD's side only */
    const struct http_route *route;
    unsigned method;
    atomic_uint holders;
    bool handled; /* the handler has been called */
    char path[HTTP_PATH_MAX + 1];
    const char *segments[HTTP_SEGMENTS_MAX]; /* in path, which is cut at them */
    char peer[HTTP_PEER_MAX + 1];
    char *body; /* NULL: none */
    size_t body_len, body_room;

    /* Under the server's lock: */
    struct http_request *next, *previous; /* in `pending` */
    bool suspended;                       /* MHD waits for the answer */
    bool answered;                        /* by the handler, or in its place when the server stops */
    struct MHD_Response *response;        /* NULL, though answered: memory was out */
    unsigned status;
};

/* ---- listen.c ---- */

/* A listening socket that does not block. */
enum tg_code http_listen(const char *address, int *fd, uint16_t *port, bool *ipv6,
                         struct tg_error *err) TG_MUST_CHECK;

/* ---- tls.c ---- */

enum tg_code http_credentials_read(const struct rpc_tls *tls, struct http_credentials **out,
                                   struct tg_error *err) TG_MUST_CHECK;
void http_credentials_hold(struct http_credentials *credentials);
void http_credentials_let_go(struct http_credentials *credentials); /* NULL is fine */
/* Makes the session, before its handshake, present these and demand a certificate of their CA. */
bool http_credentials_use(struct http_credentials *credentials, gnutls_session_t session);
/* For MHD, which wants some credentials: none at all. */
int http_no_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int ca_count,
                        const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **cert,
                        unsigned *cert_count, gnutls_privkey_t *key);
/* NULL: plain. */
gnutls_session_t http_session(struct MHD_Connection *connection);
void http_session_peer(gnutls_session_t session, char out[HTTP_PEER_MAX + 1]);

/* ---- route.c ---- */

/* Cuts request->path. 200, and request->route is set; or 404 or 405, and *allowed says which methods there
 * are. */
unsigned http_route_find(struct http_request *request, unsigned *allowed);
/* 0: none of ours. */
unsigned http_method_find(const char *name);
/* "GET, HEAD, POST" */
void http_method_list(unsigned methods, char out[64]);

/* ---- request.c: for MHD ---- */

enum MHD_Result http_on_access(void *server, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_len, void **request);
void http_on_completed(void *server, struct MHD_Connection *connection, void **request,
                       enum MHD_RequestTerminationCode why);

/* ---- reply.c ---- */

struct MHD_Response *http_response(const char *type, const void *bytes, size_t len, void (*release)(void *),
                                   void *arg);
/* Answers in the handler's place, which may come too late later. Under the server's lock. */
void http_request_abandon(struct http_request *request);
void http_request_let_go(struct http_request *request);

/* ---- server.c ---- */

void http_server_let_go(struct http_server *server);

#endif
