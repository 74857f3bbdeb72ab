/* Frames of the client protocol (DESIGN.md 3): type (8 bit), length (24 bit), stream (32 bit), big endian,
 * payload. */
#ifndef TG_COMMON_PROTOCOL_FRAME_H
#define TG_COMMON_PROTOCOL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_IDENTITY = 2,
    FRAME_AUTHENTICATE = 3,
    FRAME_AUTHENTICATED = 4,
    FRAME_LOGIN = 5,
    FRAME_CHALLENGE = 6,
    FRAME_ANSWER = 7,
    FRAME_WELCOME = 8,
    FRAME_REFUSED = 9,
    FRAME_OPEN = 16,
    FRAME_OPENED = 17,
    FRAME_DATA = 18,
    FRAME_WINDOW = 19,
    FRAME_CLOSE = 20,
    FRAME_PING = 21,
    FRAME_PONG = 22,
    FRAME_BYE = 23,
    FRAME_RESUME = 24 /* reserved: sessions cannot be taken up again yet */
};

enum frame_limits {
    FRAME_HEADER_LEN = 8,
    FRAME_MAX_BEFORE_LOGIN = 4096, /* whole frame, header included */
    FRAME_MAX = 16384,             /* whole frame: exactly one TLS record */
    FRAME_PAYLOAD_MAX = FRAME_MAX - FRAME_HEADER_LEN
};

struct frame_header {
    uint8_t type;
    uint32_t length; /* of the payload */
    uint32_t stream; /* 0: the connection itself */
};

/* Writes FRAME_HEADER_LEN bytes. The length must fit 24 bits (our own invariant). Any thread, as all here. */
void frame_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_LEN]);

/* Reads FRAME_HEADER_LEN bytes of a stranger. INVALID_ARGUMENT: unknown type, a frame larger than frame_max
 * (FRAME_MAX_BEFORE_LOGIN or FRAME_MAX), or a stream number that the type does not allow (streams only for
 * OPEN to CLOSE and never 0 there). */
enum tg_code frame_decode(const uint8_t in[FRAME_HEADER_LEN], size_t frame_max, struct frame_header *header,
                          struct tg_error *err) TG_MUST_CHECK;

/* "HELLO" and so on; "unknown" for others. */
const char *frame_name(unsigned type);

#endif
