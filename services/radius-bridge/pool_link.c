/* One link: a thread that connects when its server needs another connection, and asks when there is something
 * to ask. */
#include "common/log.h"
#include "common/secret.h"
#include "common/trace.h"
#include "services/radius-bridge/pool_state.h"

enum { BACKOFF_FIRST_MS = 200, BACKOFF_MAX_MS = 5000 };

void link_set_state(struct link *link, enum link_state state)
{
    link->server->count[link->state]--;
    link->state = state;
    link->since_ms = clock_now_ms();
    link->server->count[state]++;
}

static void connect_failed(struct radius_server *server, const struct tg_error *why)
{
    uint64_t now_ms = clock_now_ms();
    server->retry_ms = now_ms + server->backoff_ms;
    server->backoff_ms = server->backoff_ms * 2 < BACKOFF_MAX_MS ? server->backoff_ms * 2 : BACKOFF_MAX_MS;
    if (server->count[LINK_IDLE] + server->count[LINK_BUSY] > 0)
        return; /* this connection was too many for the server, the others work */
    struct job_list homeless = {0};
    server_went_down(server, why, &homeless);
    pool_rehome(server->pool, &homeless);
}

/* Lets go of the lock while it connects. */
static void connect_link(struct link *link)
{
    struct radius_server *server = link->server;
    struct pool *pool = server->pool;
    struct tg_error why = {0};
    struct connection *connection = NULL;
    link_set_state(link, LINK_CONNECTING);
    pool_wake_watch(pool);
    pthread_mutex_unlock(&pool->lock);
    enum tg_code code = connection_open(&connection, &server->config, &why);
    pthread_mutex_lock(&pool->lock);
    link->connection = connection;
    link_set_state(link, code == TG_OK ? LINK_IDLE : LINK_SPARE);
    if (code != TG_OK) {
        connect_failed(server, &why);
        return;
    }
    server->backoff_ms = BACKOFF_FIRST_MS;
    server->retry_ms = 0;
    server_went_up(server);
}

static void disconnect(struct link *link)
{
    struct connection *connection = link->connection;
    link->connection = NULL;
    link_set_state(link, LINK_SPARE);
    pthread_mutex_unlock(&link->server->pool->lock);
    connection_close(connection);
    pthread_mutex_lock(&link->server->pool->lock);
}

/* Nothing was heard from this server since the question left: it is passed over for a while. */
static void note_silence(struct radius_server *server, uint64_t asked_ms, uint64_t now_ms)
{
    if (server->last_answer_ms >= asked_ms || server->mute_until_ms > now_ms)
        return;
    server->mute_until_ms = now_ms + server->pool->options.dead_time_ms;
    LOG(LOG_WARNING, NULL, "radius.server_mute", LOG_TEXT("server", server->config.name),
        LOG_NUMBER("dead_time_ms", server->pool->options.dead_time_ms));
}

/* After a failure, with the lock held: the job goes on elsewhere, or its end is in *verdict. */
static void go_on(struct link *link, struct job *job, uint64_t asked_ms, const struct tg_error *why,
                  struct verdict *verdict)
{
    struct radius_server *server = link->server;
    uint64_t now_ms = clock_now_ms();
    bool silent = link->aborted || why->code == TG_DEADLINE_EXCEEDED;
    if (silent)
        note_silence(server, asked_ms, now_ms);
    else
        LOG(LOG_INFO, NULL, "radius.connection_lost", LOG_TEXT("server", server->config.name), LOG_ERR(why));
    /* Servers close idle connections as they please; whoever comes at that moment must not notice. */
    bool again = !silent && why->code == TG_UNAVAILABLE && !job->asked_again && !server->pool->stopping;
    if (again && now_ms < job->deadline_ms) {
        job->asked_again = true;
        pool_put(server, job, true);
        return;
    }
    struct tg_error told = *why;
    if (silent)
        (void)tg_fail(&told, TG_DEADLINE_EXCEEDED, "%s did not answer", server->config.name);
    else
        (void)tg_fail(&told, why->code, "%s: %.180s", server->config.name, why->text);
    job->unanswered = job->unanswered || silent;
    job_failed_at(job, server, &told);
    if (!pool_place(server->pool, job, verdict))
        verdict->job = job;
}

/* The job was not asked; the lock is held. */
static bool expired(struct job *job, uint64_t now_ms, struct verdict *verdict)
{
    if (now_ms < job->deadline_ms)
        return false;
    verdict->job = job;
    (void)tg_fail(&verdict->why, TG_DEADLINE_EXCEEDED, "no connection to a RADIUS server was free in time");
    return true;
}

/* One job, with the lock held before and after. */
static void serve(struct link *link)
{
    struct radius_server *server = link->server;
    struct pool *pool = server->pool;
    struct job *job = jobs_pop(&server->queue);
    uint64_t asked_ms = clock_now_ms();
    struct verdict verdict = {0};
    struct tg_error why = {0};
    struct radius_answer answer;
    pool->waiting--;
    if (expired(job, asked_ms, &verdict)) {
        pthread_mutex_unlock(&pool->lock);
        verdict_tell(&verdict);
        pthread_mutex_lock(&pool->lock);
        return;
    }
    uint64_t left_ms = job->deadline_ms - asked_ms;
    uint32_t timeout_ms =
        left_ms < pool->options.response_timeout_ms ? (uint32_t)left_ms : pool->options.response_timeout_ms;
    link->overdue_ms = asked_ms + timeout_ms;
    link->aborted = false;
    link_set_state(link, LINK_BUSY);
    pool_wake_watch(pool);
    pthread_mutex_unlock(&pool->lock);
    enum tg_code code = connection_ask(link->connection, job->request, timeout_ms, &answer, &why);
    pthread_mutex_lock(&pool->lock);
    if (code == TG_OK) {
        server->last_answer_ms = clock_now_ms();
        server->mute_until_ms = 0;
        link_set_state(link, LINK_IDLE); /* before the answer is told, so that the next login finds it */
        pthread_mutex_unlock(&pool->lock);
        job_tell(job, TG_OK, "", &answer, server->config.name);
        secret_wipe(&answer, sizeof answer);
        pthread_mutex_lock(&pool->lock);
        return;
    }
    go_on(link, job, asked_ms, &why, &verdict);
    disconnect(link); /* lets the lock go */
    pthread_mutex_unlock(&pool->lock);
    verdict_tell(&verdict);
    pthread_mutex_lock(&pool->lock);
}

/* Idle: take a job, or notice that the server has closed the connection. */
static void idle(struct link *link)
{
    struct radius_server *server = link->server;
    if (!connection_fd_is_up(connection_fd(link->connection)))
        disconnect(link);
    else if (server->queue.head != NULL)
        serve(link);
    else
        pthread_cond_wait(&server->idle, &server->pool->lock);
}

void *link_main(void *arg)
{
    struct link *link = arg;
    struct pool *pool = link->server->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (link->state == LINK_IDLE)
            idle(link);
        else if (server_wants_link(link->server, clock_now_ms()))
            connect_link(link);
        else
            pthread_cond_wait(&link->server->spare, &pool->lock);
    }
    if (link->connection != NULL)
        disconnect(link);
    pool->threads--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}
