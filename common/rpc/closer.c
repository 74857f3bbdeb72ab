#include "common/rpc/closer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/trace.h"

struct rpc_closer {
    nng_socket socket;
    unsigned settle_ms;
    void (*after)(void *);
    void *arg;

    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool closed;
    int owners; /* the thread and who started it */
};

static atomic_bool stuck;

bool rpc_closer_is_stuck(void)
{
    return atomic_load(&stuck);
}

/* With the lock held, which it releases. */
static void let_go(struct rpc_closer *c)
{
    bool last = --c->owners == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->ended);
    free(c);
}

static void *close_socket(void *arg)
{
    struct rpc_closer *c = arg;
    (void)usleep(c->settle_ms * 1000);
    nng_close(c->socket);
    if (c->after != NULL)
        c->after(c->arg);
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_cond_signal(&c->ended);
    let_go(c);
    return NULL;
}

static struct rpc_closer *closer_new(nng_socket socket, unsigned settle_ms, void (*after)(void *), void *arg)
{
    struct rpc_closer *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->socket = socket;
    c->settle_ms = settle_ms;
    c->after = after;
    c->arg = arg;
    c->owners = 2;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

struct rpc_closer *rpc_closer_start(nng_socket socket, unsigned settle_ms, void (*after)(void *), void *arg)
{
    struct rpc_closer *c = closer_new(socket, settle_ms, after, arg);
    if (c == NULL)
        return NULL;
    pthread_t thread;
    if (pthread_create(&thread, NULL, close_socket, c) != 0) {
        pthread_mutex_lock(&c->lock);
        c->owners = 1;
        let_go(c);
        return NULL;
    }
    pthread_detach(thread);
    return c;
}

bool rpc_closer_wait(struct rpc_closer *c, unsigned timeout_ms)
{
    if (c == NULL)
        return false;
    uint64_t at_ms = clock_now_ms() + timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->closed && rc == 0)
        rc = pthread_cond_timedwait(&c->ended, &c->lock, &until);
    bool closed = c->closed;
    let_go(c);
    if (!closed && !atomic_exchange(&stuck, true))
        LOG(LOG_WARNING, NULL, "rpc.close_stuck", LOG_NUMBER("waited_ms", timeout_ms));
    return closed;
}

void rpc_closer_let_go(struct rpc_closer *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    let_go(c);
}
