/* TLS on a connection's non-blocking socket: handshakes, reading, writing. */
#ifndef TG_GATEWAY_TLS_H
#define TG_GATEWAY_TLS_H

#include "common/error.h"
#include "services/gateway/connection.h"

enum tls_result {
    TLS_DONE,  /* something was read; the handshake is complete */
    TLS_AGAIN, /* the socket has nothing (more) now */
    TLS_END,   /* the peer has closed */
    TLS_BROKEN /* err says how: garbage, an alert, a reset */
};

/* The SSL for the next handshake: a new one from ctx, as the server. */
enum tg_code tls_begin(struct connection *c, SSL_CTX *ctx, struct tg_error *err) TG_MUST_CHECK;
enum tls_result tls_handshake(struct connection *c, struct tg_error *err) TG_MUST_CHECK;
enum tls_result tls_read(struct connection *c, void *buffer, size_t size, size_t *len,
                         struct tg_error *err) TG_MUST_CHECK;
/* All of it is taken, or the connection is broken, which the next read finds out. */
void tls_write(struct connection *c, const void *bytes, size_t len);
/* close_notify. */
void tls_bye(struct connection *c);
/* Whether bytes from the peer are held that nobody has read yet. */
bool tls_has_pending(const struct connection *c);
/* Frees the SSL; the socket stays open and no alert is sent. */
void tls_end(struct connection *c);

#endif
