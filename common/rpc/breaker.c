#include "common/rpc/breaker.h"

bool breaker_is_closed(const struct breaker *b)
{
    return b->failures < BREAKER_FAILURES;
}

bool breaker_would_allow(const struct breaker *b, uint64_t now_ms)
{
    return breaker_is_closed(b) || now_ms >= b->probe_at_ms;
}

bool breaker_allow(struct breaker *b, uint64_t now_ms)
{
    if (!breaker_would_allow(b, now_ms))
        return false;
    if (!breaker_is_closed(b))
        b->probe_at_ms = now_ms + BREAKER_PROBE_MS;
    return true;
}

void breaker_success(struct breaker *b)
{
    b->failures = 0;
}

void breaker_failure(struct breaker *b, uint64_t now_ms)
{
    if (b->failures < BREAKER_FAILURES)
        b->failures++;
    if (!breaker_is_closed(b))
        b->probe_at_ms = now_ms + BREAKER_PROBE_MS;
}

void throttle_success(struct throttle *t)
{
    t->spent = t->spent > THROTTLE_SUCCESS ? t->spent - THROTTLE_SUCCESS : 0;
}

void throttle_failure(struct throttle *t)
{
    t->spent = t->spent < THROTTLE_FULL - THROTTLE_FAILURE ? t->spent + THROTTLE_FAILURE : THROTTLE_FULL;
}

bool throttle_allows(const struct throttle *t)
{
    return t->spent < THROTTLE_FULL / 2;
}
