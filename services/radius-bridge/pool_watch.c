/* The watchdog: gives up questions that take too long, jobs that waited too long for a connection, and
 * notices idle connections that a server has closed. */
#include "common/monotonic.h"
#include "common/trace.h"
#include "services/radius-bridge/pool_state.h"

enum { TICK_MS = 25, CALM_TICK_MS = 1000 };

/* Connections that are being made for longer than connect_timeout: as good as none. */
static bool hangs(const struct link *link, uint64_t now_ms)
{
    return link->state == LINK_CONNECTING &&
           now_ms - link->since_ms >= link->server->pool->options.connect_timeout_ms;
}

bool server_wants_link(const struct radius_server *server, uint64_t now_ms)
{
    size_t coming = 0;
    const struct pool *pool = server->pool;
    for (unsigned i = 0; i < pool->options.workers; i++)
        coming += server->links[i].state == LINK_CONNECTING && !hangs(&server->links[i], now_ms);
    if (now_ms < server->retry_ms)
        return false;
    if (server->count[LINK_IDLE] + server->count[LINK_BUSY] + coming == 0)
        return true; /* one is always there, so that we know */
    return server->queue.length > server->count[LINK_IDLE] + coming;
}

/* A question that is overdue fails when its connection is shut down; its thread sees to the rest. */
static void watch_links(struct radius_server *server, uint64_t now_ms)
{
    for (unsigned i = 0; i < server->pool->options.workers; i++) {
        struct link *link = &server->links[i];
        if (link->state == LINK_BUSY && !link->aborted && now_ms >= link->overdue_ms) {
            link->aborted = true;
            connection_fd_abort(connection_fd(link->connection));
        }
        if (link->state == LINK_IDLE && !connection_fd_is_up(connection_fd(link->connection)))
            pthread_cond_broadcast(&server->idle);
    }
}

static bool all_hang(const struct radius_server *server, uint64_t now_ms)
{
    size_t hanging = 0;
    for (unsigned i = 0; i < server->pool->options.workers; i++)
        hanging += hangs(&server->links[i], now_ms);
    return hanging > 0 && server->count[LINK_IDLE] + server->count[LINK_BUSY] == 0 &&
           hanging == server->count[LINK_CONNECTING];
}

/* Jobs that cannot wait any longer leave the queue. */
static void watch_queue(struct radius_server *server, uint64_t now_ms, struct job_list *homeless)
{
    struct job_list stay = {0};
    bool connected = server->count[LINK_IDLE] + server->count[LINK_BUSY] > 0;
    uint64_t patience_ms = server->pool->options.connect_timeout_ms;
    for (struct job *job = jobs_pop(&server->queue); job != NULL; job = jobs_pop(&server->queue)) {
        struct tg_error why = {0};
        if (now_ms >= job->deadline_ms)
            (void)tg_fail(&why, TG_DEADLINE_EXCEEDED, "%s: no connection was free in time",
                          server->config.name);
        else if (!connected && now_ms - job->queued_ms >= patience_ms)
            (void)tg_fail(&why, TG_UNAVAILABLE, "%s: no connection in time", server->config.name);
        if (why.code == TG_OK) {
            jobs_push(&stay, job);
            continue;
        }
        job_failed_at(job, server, &why);
        server->pool->waiting--;
        jobs_push(homeless, job);
    }
    server->queue = stay;
}

/* True: there is something that may become overdue. */
static bool watch_server(struct radius_server *server, uint64_t now_ms, struct job_list *homeless)
{
    watch_links(server, now_ms);
    if (server->reach != REACH_DOWN && all_hang(server, now_ms)) {
        struct tg_error why = {0};
        (void)tg_fail(&why, TG_UNAVAILABLE, "%s: it does not complete the connection", server->config.name);
        server_went_down(server, &why, homeless);
    }
    watch_queue(server, now_ms, homeless);
    if (server->count[LINK_SPARE] > 0 && server_wants_link(server, now_ms))
        pthread_cond_signal(&server->spare);
    return server->queue.head != NULL || server->count[LINK_BUSY] > 0 || server->count[LINK_CONNECTING] > 0 ||
           server->reach == REACH_DOWN;
}

void *watch_main(void *arg)
{
    struct pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        uint64_t now_ms = clock_now_ms();
        struct job_list homeless = {0};
        bool busy = false;
        for (size_t i = 0; i < pool->options.server_count; i++)
            busy |= watch_server(&pool->servers[i], now_ms, &homeless);
        pool_rehome(pool, &homeless);
        pool->watch_is_calm = !busy;
        if (!pool->stopping)
            (void)monotonic_wait(&pool->watch, &pool->lock, clock_now_ms() + (busy ? TICK_MS : CALM_TICK_MS));
    }
    pool->threads--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}
