/* Bytes to and from the gateway before the session: TLS and whole frames on a non-blocking socket, each call
 * with the connection's deadline. Hostile bytes end in an error, bounds are checked before anything is read.
 */
#ifndef TG_CLIENT_LOGIN_WIRE_H
#define TG_CLIENT_LOGIN_WIRE_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "common/error.h"
#include "common/protocol/frame.h"

struct wire {
    int fd;               /* -1: none */
    SSL *ssl;             /* NULL: none */
    uint64_t deadline_ms; /* CLOCK_MONOTONIC */
};

struct wire_frame {
    struct frame_header header;
    uint8_t bytes[FRAME_MAX_BEFORE_LOGIN]; /* the whole frame as it is on the wire */
};

/* All functions: DEADLINE_EXCEEDED when the gateway is silent past the deadline; UNAVAILABLE when it cannot
 * be reached or the connection ended; INVALID_ARGUMENT for frames that break the protocol. */

/* Resolves and tries each address in turn. */
enum tg_code wire_connect(struct wire *wire, const char *host, uint16_t port,
                          struct tg_error *err) TG_MUST_CHECK;
/* Client side of a TLS handshake on wire->ssl, whose descriptor is set. UNAUTHENTICATED: TLS itself failed.
 */
enum tg_code wire_tls_handshake(struct wire *wire, struct tg_error *err) TG_MUST_CHECK;
enum tg_code wire_write(struct wire *wire, const void *bytes, size_t len, struct tg_error *err) TG_MUST_CHECK;
/* One whole frame of at most FRAME_MAX_BEFORE_LOGIN bytes. Nothing past it is taken from the SSL. */
enum tg_code wire_read_frame(struct wire *wire, struct wire_frame *frame, struct tg_error *err) TG_MUST_CHECK;
/* Closes and zeroes; without close_notify. */
void wire_close(struct wire *wire);

static inline const uint8_t *wire_payload(const struct wire_frame *frame)
{
    return frame->bytes + FRAME_HEADER_LEN;
}

#endif
