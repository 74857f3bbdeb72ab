/* What keeps a caller from wearing itself and a sick server out: a circuit breaker per endpoint and a retry
 * throttle per client. Neither locks: their owner does. */
#ifndef TG_COMMON_RPC_BREAKER_H
#define TG_COMMON_RPC_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum breaker_limits { BREAKER_FAILURES = 5, BREAKER_PROBE_MS = 500 };

/* Closed until BREAKER_FAILURES failures in a row; then it lets one probe through every BREAKER_PROBE_MS
 * until one succeeds. A struct of zeroes is closed. */
struct breaker {
    unsigned failures;
    uint64_t probe_at_ms;
};
bool breaker_is_closed(const struct breaker *b);
/* Would breaker_allow say yes? Whoever calls only when the peer is ready must count this as ready: else the
 * probe that closes the breaker never comes. */
bool breaker_would_allow(const struct breaker *b, uint64_t now_ms);
/* May this endpoint be tried? When open, a true is the probe, counted as such. */
bool breaker_allow(struct breaker *b, uint64_t now_ms);
void breaker_success(struct breaker *b);
void breaker_failure(struct breaker *b, uint64_t now_ms);

/* gRFC A6: a bucket of tokens; a failure takes one, a success gives a part of one back, and nothing is tried
 * again while the bucket is half empty or less. */
struct throttle {
    unsigned spent; /* in thousandths of a token; zeroes are a full bucket */
};
enum throttle_limits { THROTTLE_FULL = 100000, THROTTLE_FAILURE = 1000, THROTTLE_SUCCESS = 500 };
void throttle_success(struct throttle *t);
void throttle_failure(struct throttle *t);
bool throttle_allows(const struct throttle *t);

#endif
