/* At most so many a second: for what strangers can cause, so that they cannot fill logs. Any thread. */
#ifndef TG_GATEWAY_RATE_H
#define TG_GATEWAY_RATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    pthread_mutex_t lock;
    uint32_t per_second, at_once;
    uint64_t tokens_ms; /* 1000 tokens of this are one go */
    uint64_t last_ms;   /* 0: not used yet */
    uint64_t held_back;
};
void rate_limit_init(struct rate_limit *limit, uint32_t per_second, uint32_t at_once);

/* True: go; *held_back is how many were not allowed since the last one that was. */
bool rate_allows(struct rate_limit *limit, uint64_t *held_back);
/* It did not go after all: counts as held back, together with those that rate_allows told of. */
void rate_hold_back(struct rate_limit *limit, uint64_t count);

#endif
