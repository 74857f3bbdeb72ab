/* Condition variables with deadlines on the clock that nobody sets: the one of clock_now_ms. Any thread. */
#ifndef TG_COMMON_MONOTONIC_H
#define TG_COMMON_MONOTONIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* pthread_cond_destroy ends it, as any other. */
void monotonic_cond_init(pthread_cond_t *cond);

/* Waits until it is signalled or clock_now_ms() reaches at_ms; may wake early, as pthread_cond_wait may.
 * UINT64_MAX: no deadline. False: the deadline has come. */
bool monotonic_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t at_ms);

#endif
