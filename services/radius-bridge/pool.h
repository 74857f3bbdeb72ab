/* Who asks which RADIUS server. Each server has `workers` threads with a connection each (radcli's calls
 * block) and a queue; only threads that are connected take from it, so that a server which cannot be reached,
 * or does not shake hands, holds nobody up. Order, failover and dead time are decided here:
 *
 *   a server is DOWN when it cannot be connected to, or not within connect_timeout; it is tried again in the
 * background, and its queue moves on to the next server; a server is mute, for dead_time, when it answered
 * nothing at all while a question waited for response_timeout; when nothing better is left, such servers are
 * asked all the same. */
#ifndef TG_RADIUS_POOL_H
#define TG_RADIUS_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "services/radius-bridge/connection.h"

enum pool_limits { POOL_SERVERS_MAX = 8, POOL_WORKERS_MAX = 256 };

struct pool;

struct pool_options {
    const struct radius_server_config *servers; /* copied */
    size_t server_count;                        /* 1 to POOL_SERVERS_MAX */
    unsigned workers;                           /* for each server, 1 to POOL_WORKERS_MAX */
    size_t queue;                               /* logins that may wait, all together */
    uint32_t connect_timeout_ms;
    uint32_t response_timeout_ms;
    uint32_t dead_time_ms;
    /* A server went down, or came back; `why` says why. Called with the pool's lock held: must not block nor
     * call the pool. May be NULL. */
    void (*server_changed)(void *arg, const char *server, bool up, const char *why);
    void *arg;
};

/* Exactly once, on a thread of the pool's or within pool_ask. On OK the answer and the server's name are
 * borrowed until it returns. UNAVAILABLE: nobody was asked. DEADLINE_EXCEEDED: asked, but no answer came.
 * RESOURCE_EXHAUSTED: too many wait. FAILED_PRECONDITION: the challenge's server is not configured any more.
 */
typedef void pool_done(void *arg, enum tg_code status, const char *text, const struct radius_answer *answer,
                       const char *server);

enum tg_code pool_open(struct pool **pool, const struct pool_options *options,
                       struct tg_error *err) TG_MUST_CHECK;
enum tg_code pool_start(struct pool *pool, struct tg_error *err) TG_MUST_CHECK;
/* Answers what waits with UNAVAILABLE, ends the threads, frees. A thread that hangs while it connects is left
 * to the end of the process, and the memory with it. NULL is fine. */
void pool_close(struct pool *pool);

/* The request (checked, connection.h) is borrowed until `done` is called. Any thread. */
void pool_ask(struct pool *pool, const Tg__LoginRequest *request, uint32_t budget_ms, pool_done *done,
              void *arg);

/* True while at least one server is connected, or nothing has been tried yet. Any thread. */
bool pool_is_ready(struct pool *pool);

#endif
