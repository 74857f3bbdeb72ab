#include "services/gateway/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/gateway/connection.h"
#include "services/gateway/refuse.h"
#include "services/gateway/streams.h"
#include "services/gateway/wire.h"

/* ---- posts from other threads ---- */

void worker_post(struct worker *worker, struct post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&worker->inbox_lock);
    bool open = worker->inbox_open;
    if (open) {
        *worker->inbox_end = post;
        worker->inbox_end = &post->next;
        uv_async_send(&worker->wake);
    }
    pthread_mutex_unlock(&worker->inbox_lock);
    if (!open)
        post->run(NULL, post);
}

static struct post *take_posts(struct worker *worker, bool last)
{
    pthread_mutex_lock(&worker->inbox_lock);
    struct post *posts = worker->inbox;
    worker->inbox = NULL;
    worker->inbox_end = &worker->inbox;
    if (last)
        worker->inbox_open = false;
    pthread_mutex_unlock(&worker->inbox_lock);
    return posts;
}

static void run_posts(struct worker *worker, struct post *posts)
{
    while (posts != NULL) {
        struct post *next = posts->next;
        posts->run(worker, posts);
        posts = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    struct worker *worker = wake->data;
    run_posts(worker, take_posts(worker, false));
}

/* ---- connections ---- */

static struct connection **bucket(struct worker *worker, uint64_t id)
{
    return &worker->buckets[id % WORKER_BUCKETS];
}

struct connection *worker_find(struct worker *worker, uint64_t id)
{
    struct connection *c = *bucket(worker, id);
    while (c != NULL && c->id != id)
        c = c->same_bucket;
    return c;
}

void worker_add(struct worker *worker, struct connection *c)
{
    c->id = ++worker->last_id;
    c->next = worker->connections;
    if (c->next != NULL)
        c->next->previous = c;
    worker->connections = c;
    struct connection **first = bucket(worker, c->id);
    c->same_bucket = *first;
    *first = c;
}

static void forget_unfinished(struct worker *worker, struct connection *c)
{
    struct connection **link = &worker->unfinished;
    if (!c->unfinished)
        return;
    while (*link != c)
        link = &(*link)->next_unfinished;
    *link = c->next_unfinished;
    c->unfinished = false;
}

void worker_remove(struct worker *worker, struct connection *c)
{
    *(c->previous != NULL ? &c->previous->next : &worker->connections) = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    struct connection **link = bucket(worker, c->id);
    while (*link != c)
        link = &(*link)->same_bucket;
    *link = c->same_bucket;
    forget_unfinished(worker, c);
}

static void on_turn(uv_idle_t *idle)
{
    struct worker *worker = idle->data;
    struct connection *list = worker->unfinished, *c;
    worker->unfinished = NULL;
    /* One connection's work never closes another one, so the list stays whole while it is walked. */
    while ((c = list) != NULL) {
        list = c->next_unfinished;
        c->unfinished = false;
        connection_continue(c);
    }
    if (worker->unfinished == NULL)
        uv_idle_stop(idle);
}

void worker_continue_later(struct worker *worker, struct connection *c)
{
    if (c->unfinished)
        return;
    c->unfinished = true;
    c->next_unfinished = worker->unfinished;
    worker->unfinished = c;
    uv_idle_start(&worker->keep_turning, on_turn);
}

static void before_wait(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;
    wire_flush(worker);
    streams_free_ended(worker);
}

/* ---- life ---- */

static enum tg_code set_up_loop(struct worker *worker, struct tg_error *err)
{
    int rc = uv_loop_init(&worker->loop);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot make an event loop: %s", uv_strerror(rc));
    rc = uv_async_init(&worker->loop, &worker->wake, on_wake);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot make an event loop: %s", uv_strerror(rc));
    uv_prepare_init(&worker->loop, &worker->before_wait);
    uv_idle_init(&worker->loop, &worker->keep_turning);
    uv_timer_init(&worker->loop, &worker->accept_pause);
    worker->wake.data = worker->before_wait.data = worker->keep_turning.data = worker->accept_pause.data =
        worker;
    uv_prepare_start(&worker->before_wait, before_wait);
    return TG_OK;
}

enum tg_code worker_new(struct gateway *gateway, unsigned number, int listen_fd, struct worker **worker,
                        struct tg_error *err)
{
    struct worker *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    made->gateway = gateway;
    made->number = number;
    made->listen_fd = listen_fd;
    made->inbox_end = &made->inbox;
    pthread_mutex_init(&made->inbox_lock, NULL);
    *worker = made;
    return TG_OK;
}

static void *run_loop(void *arg)
{
    struct worker *worker = arg;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", worker->number);
    pthread_setname_np(pthread_self(), name);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    return NULL;
}

enum tg_code worker_start(struct worker *worker, struct tg_error *err)
{
    TG_TRY(set_up_loop(worker, err));
    TG_TRY(listen_start(worker, err));
    worker->inbox_open = true;
    int rc = pthread_create(&worker->thread, NULL, run_loop, worker);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start a worker: %s", strerror(rc));
    worker->started = true;
    return TG_OK;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Ends the loop by leaving it without handles. */
static void stop_here(struct worker *worker, struct post *post)
{
    free(post);
    if (worker == NULL)
        return;
    listen_stop(worker);
    while (worker->connections != NULL)
        connection_close(worker->connections);
    streams_free_ended(worker);
    run_posts(NULL, take_posts(worker, true));
    uv_walk(&worker->loop, close_handle, NULL);
}

static void drain_here(struct worker *worker, struct post *post)
{
    free(post);
    if (worker == NULL)
        return;
    listen_stop(worker);
    for (struct connection *c = worker->connections, *next; c != NULL; c = next) {
        next = c->next;
        refuse_for_restart(c);
    }
}

static void post_order(struct worker *worker, void (*run)(struct worker *, struct post *))
{
    struct post *post = calloc(1, sizeof *post);
    TG_INVARIANT(post != NULL);
    post->run = run;
    worker_post(worker, post);
}

void worker_drain(struct worker *worker)
{
    post_order(worker, drain_here);
}

void worker_stop(struct worker *worker)
{
    if (!worker->started)
        return;
    post_order(worker, stop_here);
    pthread_join(worker->thread, NULL);
    worker->started = false;
    TG_INVARIANT(uv_loop_close(&worker->loop) == 0);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->listen_fd >= 0)
        close(worker->listen_fd);
    pthread_mutex_destroy(&worker->inbox_lock);
    free(worker);
}
