/* The correlation id: made at the first byte of a client's connection, carried by every call, log line and audit
 * event to the RADIUS accounting Stop. Also the monotonic clock and other small identities. */
#ifndef TG_COMMON_TRACE_H
#define TG_COMMON_TRACE_H

#include <stddef.h>
#include <stdint.h>

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

#endif
