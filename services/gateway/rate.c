#include "services/gateway/rate.h"

#include "common/trace.h"

void rate_limit_init(struct rate_limit *limit, uint32_t per_second, uint32_t at_once)
{
    *limit = (struct rate_limit){.per_second = per_second, .at_once = at_once};
    pthread_mutex_init(&limit->lock, NULL);
}

/* A token bucket: fills by the clock, up to at_once. */
static bool take(struct rate_limit *limit, uint64_t now_ms)
{
    uint64_t full = (uint64_t)limit->at_once * 1000;
    if (limit->last_ms == 0)
        limit->tokens_ms = full;
    else
        limit->tokens_ms += (now_ms - limit->last_ms) * limit->per_second;
    if (limit->tokens_ms > full)
        limit->tokens_ms = full;
    limit->last_ms = now_ms;
    if (limit->tokens_ms < 1000)
        return false;
    limit->tokens_ms -= 1000;
    return true;
}

bool rate_allows(struct rate_limit *limit, uint64_t *held_back)
{
    pthread_mutex_lock(&limit->lock);
    bool go = take(limit, clock_now_ms());
    *held_back = limit->held_back;
    limit->held_back = go ? 0 : limit->held_back + 1;
    pthread_mutex_unlock(&limit->lock);
    return go;
}

void rate_hold_back(struct rate_limit *limit, uint64_t count)
{
    pthread_mutex_lock(&limit->lock);
    limit->held_back += count;
    pthread_mutex_unlock(&limit->lock);
}
