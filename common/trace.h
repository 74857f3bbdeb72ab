/* The correlation id: made at the first byte of a client's connection, carried by every call, log line and
 * audit event to the RADIUS accounting Stop. Also the monotonic clock and other small identities. */
#ifndef TG_COMMON_TRACE_H
#define TG_COMMON_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { TRACE_HEX_LEN = 32, REQUEST_ID_LEN = 16 };

struct trace {
    char hex[TRACE_HEX_LEN + 1];
};

/* A fresh random id. Any thread. */
struct trace trace_new(void);

/* Milliseconds of CLOCK_MONOTONIC, and microseconds of CLOCK_REALTIME. Any thread. */
uint64_t clock_now_ms(void);
uint64_t clock_unix_us(void);

/* Fresh random bytes, public (nonces, ids). Stops the process if OpenSSL's DRBG fails. Any thread. */
void random_bytes(void *out, size_t len);

/* Lower-case hex of len bytes into out[2 * len + 1]. Any thread. */
void hex_encode(const void *bytes, size_t len, char *out);
/* And back: 2 * len lower-case digits into out[len]. False: one of them is something else; a NUL ends the
 * search, so a text that is too short is never read beyond its end. */
bool hex_decode(const char *hex, size_t len, void *out) TG_MUST_CHECK;

#endif
