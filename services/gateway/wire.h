/* What lies under TLS: an OpenSSL BIO that reads straight from the socket and gathers what is written, so
 * that one system call sends many records. What the socket does not take waits in the connection's queue; TLS
 * never sees a full socket. */
#ifndef TG_GATEWAY_WIRE_H
#define TG_GATEWAY_WIRE_H

#include <openssl/ssl.h>

#include "common/error.h"
#include "services/gateway/connection.h"

/* Gives ssl such a BIO for the connection's socket. RESOURCE_EXHAUSTED: out of memory. */
enum tg_code wire_attach(struct connection *c, SSL *ssl, struct tg_error *err) TG_MUST_CHECK;

/* Sends what was gathered for this worker's connection of the moment. */
void wire_flush(struct worker *worker);
/* Sends what waits for this connection, as far as the socket takes it; true: nothing waits. A broken socket
 * is found out by the next read. */
bool wire_push(struct connection *c);
/* Drops what was gathered for a connection that closes. */
void wire_forget(struct connection *c);

#endif
