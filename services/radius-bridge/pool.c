#include "services/radius-bridge/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"
#include "services/radius-bridge/pool_state.h"

enum { CLOSE_PATIENCE_MS = 2000, BACKOFF_FIRST_MS = 200 };

/* ---- jobs ---- */

void jobs_push(struct job_list *list, struct job *job)
{
    job->next = NULL;
    if (list->tail != NULL)
        list->tail->next = job;
    else
        list->head = job;
    list->tail = job;
    list->length++;
}

void jobs_push_front(struct job_list *list, struct job *job)
{
    job->next = list->head;
    list->head = job;
    if (list->tail == NULL)
        list->tail = job;
    list->length++;
}

struct job *jobs_pop(struct job_list *list)
{
    struct job *first = list->head;
    if (first == NULL)
        return NULL;
    list->head = first->next;
    if (list->head == NULL)
        list->tail = NULL;
    list->length--;
    return first;
}

void job_tell(struct job *job, enum tg_code status, const char *text, const struct radius_answer *answer,
              const char *server)
{
    job->done(job->arg, status, text, answer, server);
    free(job);
}

void verdict_tell(struct verdict *verdict)
{
    if (verdict->job != NULL)
        job_tell(verdict->job, verdict->why.code, verdict->why.text, NULL, NULL);
}

void job_failed_at(struct job *job, const struct radius_server *server, const struct tg_error *why)
{
    job->tried |= server->bit;
    job->last = *why;
}

/* ---- which server ---- */

/* Smaller is better; -1: not this one. */
static int rank(const struct radius_server *server, const struct job *job, uint64_t now_ms)
{
    if ((job->tried & server->bit) != 0)
        return -1;
    if (server->reach == REACH_DOWN)
        return 2;
    return now_ms < server->mute_until_ms ? 1 : 0;
}

static struct radius_server *best_server(struct pool *pool, const struct job *job)
{
    struct radius_server *best = NULL;
    int best_rank = 0;
    uint64_t now_ms = clock_now_ms();
    for (size_t i = 0; i < pool->options.server_count; i++) {
        int own = rank(&pool->servers[i], job, now_ms);
        if (own >= 0 && (best == NULL || own < best_rank)) {
            best = &pool->servers[i];
            best_rank = own;
        }
    }
    return best;
}

void pool_put(struct radius_server *server, struct job *job, bool front)
{
    job->queued_ms = clock_now_ms();
    if (front)
        jobs_push_front(&server->queue, job);
    else
        jobs_push(&server->queue, job);
    server->pool->waiting++;
    if (server->count[LINK_IDLE] > 0)
        pthread_cond_signal(&server->idle);
    if (server->count[LINK_SPARE] > 0 && server_wants_link(server, clock_now_ms()))
        pthread_cond_signal(&server->spare);
    pool_wake_watch(server->pool);
}

bool pool_place(struct pool *pool, struct job *job, struct verdict *verdict)
{
    bool in_time = clock_now_ms() < job->deadline_ms;
    struct radius_server *server = in_time && !pool->stopping ? best_server(pool, job) : NULL;
    if (server != NULL) {
        if (server->reach == REACH_DOWN)
            server->retry_ms = 0; /* somebody needs it: try it now */
        pool_put(server, job, false);
        return true;
    }
    verdict->job = job;
    (void)tg_fail(&verdict->why, job->unanswered || !in_time ? TG_DEADLINE_EXCEEDED : TG_UNAVAILABLE, "%s%s",
                  job->bound ? "the challenge cannot be answered: " : "", job->last.text);
    return false;
}

void pool_rehome(struct pool *pool, struct job_list *homeless)
{
    struct job *job = NULL;
    while ((job = jobs_pop(homeless)) != NULL) {
        struct verdict verdict = {0};
        if (pool_place(pool, job, &verdict))
            continue;
        pthread_mutex_unlock(&pool->lock);
        verdict_tell(&verdict);
        pthread_mutex_lock(&pool->lock);
    }
}

void pool_wake_watch(struct pool *pool)
{
    if (pool->watch_is_calm)
        pthread_cond_signal(&pool->watch);
}

static void tell_change(const struct radius_server *server, bool up, const char *why)
{
    const struct pool_options *options = &server->pool->options;
    if (options->server_changed != NULL && !server->pool->stopping) /* whose argument may be gone by then */
        options->server_changed(options->arg, server->config.name, up, why);
}

void server_went_up(struct radius_server *server)
{
    bool was_down = server->reach == REACH_DOWN;
    if (server->reach == REACH_UP)
        return;
    server->reach = REACH_UP;
    LOG(LOG_INFO, NULL, "radius.server_up", LOG_TEXT("server", server->config.name));
    if (was_down)
        tell_change(server, true, "");
}

void server_went_down(struct radius_server *server, const struct tg_error *why, struct job_list *homeless)
{
    if (server->reach != REACH_DOWN) {
        server->reach = REACH_DOWN;
        LOG(LOG_WARNING, NULL, "radius.server_down", LOG_TEXT("server", server->config.name), LOG_ERR(why));
        tell_change(server, false, why->text);
    }
    server->why_down = *why;
    for (struct job *job = jobs_pop(&server->queue); job != NULL; job = jobs_pop(&server->queue)) {
        job_failed_at(job, server, why);
        server->pool->waiting--;
        jobs_push(homeless, job);
    }
}

/* ---- asking ---- */

/* An open challenge goes on where it began: all other servers count as tried. */
static enum tg_code bind_job(const struct pool *pool, struct job *job, struct tg_error *err)
{
    if (job->request->server[0] == '\0')
        return TG_OK;
    for (size_t i = 0; i < pool->options.server_count; i++) {
        if (strcmp(pool->servers[i].config.name, job->request->server) == 0) {
            job->bound = true;
            job->tried = ~pool->servers[i].bit;
            return TG_OK;
        }
    }
    return tg_fail(err, TG_FAILED_PRECONDITION, "the server of this challenge is not configured (any more)");
}

static enum tg_code job_new(struct job **out, const struct pool *pool, const Tg__LoginRequest *request,
                            uint32_t budget_ms, struct tg_error *err)
{
    struct job *job = calloc(1, sizeof *job);
    TG_ENSURE(job != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a login");
    job->request = request;
    job->deadline_ms = clock_now_ms() + budget_ms;
    enum tg_code code = bind_job(pool, job, err);
    if (code == TG_OK)
        *out = job;
    else
        free(job);
    return code;
}

void pool_ask(struct pool *pool, const Tg__LoginRequest *request, uint32_t budget_ms, pool_done *done,
              void *arg)
{
    struct tg_error err = {0};
    struct job *job = NULL;
    enum tg_code code = job_new(&job, pool, request, budget_ms, &err);
    if (job == NULL) {
        done(arg, code, err.text, NULL, NULL);
        return;
    }
    job->done = done;
    job->arg = arg;
    struct verdict verdict = {0};
    (void)tg_fail(&job->last, TG_UNAVAILABLE, "the RADIUS bridge is ending");
    pthread_mutex_lock(&pool->lock);
    if (pool->waiting >= pool->options.queue) {
        verdict.job = job;
        (void)tg_fail(&verdict.why, TG_RESOURCE_EXHAUSTED, "%zu logins wait for a RADIUS server already",
                      pool->waiting);
    } else {
        pool_place(pool, job, &verdict);
    }
    pthread_mutex_unlock(&pool->lock);
    verdict_tell(&verdict);
}

bool pool_is_ready(struct pool *pool)
{
    bool ready = false;
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->options.server_count; i++)
        ready |= pool->servers[i].reach != REACH_DOWN;
    pthread_mutex_unlock(&pool->lock);
    return ready;
}

/* ---- from open to close ---- */

static bool copy_text(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL;
}

static bool config_copy(struct radius_server_config *to, const struct radius_server_config *from)
{
    to->transport = from->transport;
    to->port = from->port;
    return copy_text(&to->name, from->name) && copy_text(&to->host, from->host) &&
           copy_text(&to->ca, from->ca) && copy_text(&to->certificate, from->certificate) &&
           copy_text(&to->key, from->key) && copy_text(&to->secret_file, from->secret_file);
}

static void config_fini(struct radius_server_config *config)
{
    free(config->name);
    free(config->host);
    free(config->ca);
    free(config->certificate);
    free(config->key);
    free(config->secret_file);
}

static bool server_init(struct pool *pool, size_t index)
{
    struct radius_server *server = &pool->servers[index];
    unsigned workers = pool->options.workers;
    monotonic_cond_init(&server->idle);
    monotonic_cond_init(&server->spare);
    server->pool = pool;
    server->bit = 1U << index;
    server->backoff_ms = BACKOFF_FIRST_MS;
    server->count[LINK_SPARE] = workers;
    server->links = calloc(workers, sizeof *server->links);
    for (unsigned i = 0; server->links != NULL && i < workers; i++)
        server->links[i].server = server;
    return server->links != NULL && config_copy(&server->config, &pool->options.servers[index]);
}

static void pool_free(struct pool *pool)
{
    for (size_t i = 0; i < pool->options.server_count; i++) {
        pthread_cond_destroy(&pool->servers[i].idle);
        pthread_cond_destroy(&pool->servers[i].spare);
        free(pool->servers[i].links);
        config_fini(&pool->servers[i].config);
    }
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->watch);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

enum tg_code pool_open(struct pool **out, const struct pool_options *options, struct tg_error *err)
{
    TG_INVARIANT(options->server_count > 0 && options->server_count <= POOL_SERVERS_MAX);
    TG_TRY(connection_prepare(err));
    struct pool *pool = calloc(1, sizeof *pool);
    TG_ENSURE(pool != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for connections");
    pthread_mutex_init(&pool->lock, NULL);
    monotonic_cond_init(&pool->watch);
    monotonic_cond_init(&pool->ended);
    pool->options = *options;
    bool ok = true;
    for (size_t i = 0; i < options->server_count; i++)
        ok = server_init(pool, i) && ok;
    if (!ok) {
        pool_free(pool);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for connections");
    }
    *out = pool;
    return TG_OK;
}

/* The lock is held: the new thread waits for it. */
static enum tg_code start_links(struct pool *pool, struct radius_server *server, struct tg_error *err)
{
    for (unsigned i = 0; i < pool->options.workers; i++) {
        struct link *link = &server->links[i];
        int rc = pthread_create(&link->thread, NULL, link_main, link);
        TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start %u threads for each RADIUS server: %s",
                  pool->options.workers, strerror(rc));
        link->started = true;
        pool->threads++;
    }
    return TG_OK;
}

enum tg_code pool_start(struct pool *pool, struct tg_error *err)
{
    enum tg_code code = TG_OK;
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; code == TG_OK && i < pool->options.server_count; i++)
        code = start_links(pool, &pool->servers[i], err);
    int rc = code == TG_OK ? pthread_create(&pool->watchdog, NULL, watch_main, pool) : 0;
    pool->started = code == TG_OK && rc == 0;
    pool->threads += pool->started;
    pthread_mutex_unlock(&pool->lock);
    TG_TRY(code);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the RADIUS watchdog: %s", strerror(rc));
    return TG_OK;
}

/* With the lock held: everybody is woken, questions under way fail. */
static void stop_threads(struct pool *pool)
{
    uint64_t until_ms = clock_now_ms() + CLOSE_PATIENCE_MS;
    pool->stopping = true;
    pthread_cond_broadcast(&pool->watch);
    for (size_t i = 0; i < pool->options.server_count; i++) {
        struct radius_server *server = &pool->servers[i];
        pthread_cond_broadcast(&server->idle);
        pthread_cond_broadcast(&server->spare);
        for (unsigned n = 0; n < pool->options.workers; n++) {
            if (server->links[n].state == LINK_BUSY)
                connection_fd_abort(connection_fd(server->links[n].connection));
        }
    }
    while (pool->threads > 0 && clock_now_ms() < until_ms)
        (void)monotonic_wait(&pool->ended, &pool->lock, until_ms);
}

static void tell_rest(struct pool *pool)
{
    struct job *job = NULL;
    for (size_t i = 0; i < pool->options.server_count; i++) {
        while ((job = jobs_pop(&pool->servers[i].queue)) != NULL)
            job_tell(job, TG_UNAVAILABLE, "the RADIUS bridge is ending", NULL, NULL);
    }
}

void pool_close(struct pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    stop_threads(pool);
    bool all_ended = pool->threads == 0;
    pthread_mutex_unlock(&pool->lock);
    tell_rest(pool);
    if (!all_ended)
        return; /* a thread hangs in radcli while it connects, and comes back to this memory */
    for (size_t i = 0; i < pool->options.server_count; i++) {
        for (unsigned n = 0; n < pool->options.workers; n++) {
            if (pool->servers[i].links[n].started)
                pthread_join(pool->servers[i].links[n].thread, NULL);
        }
    }
    if (pool->started)
        pthread_join(pool->watchdog, NULL);
    pool_free(pool);
}
