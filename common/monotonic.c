#include "common/monotonic.h"

#include <errno.h>
#include <time.h>

#include "common/error.h"

void monotonic_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    TG_INVARIANT(pthread_condattr_init(&attributes) == 0);
    TG_INVARIANT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    TG_INVARIANT(pthread_cond_init(cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

bool monotonic_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t at_ms)
{
    const struct timespec until = {.tv_sec = (time_t)(at_ms / 1000),
                                   .tv_nsec = (long)(at_ms % 1000) * 1000000};
    int rc = at_ms == UINT64_MAX ? pthread_cond_wait(cond, lock) : pthread_cond_timedwait(cond, lock, &until);
    TG_INVARIANT(rc == 0 || rc == ETIMEDOUT); /* else: a condition or lock that is none */
    return rc == 0;
}
