/* A worker: one event loop with its thread, its listening socket and its connections. Everything here belongs
 * to that thread, except worker_post. */
#ifndef TG_GATEWAY_WORKER_H
#define TG_GATEWAY_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

#include "common/error.h"
#include "common/protocol/frame.h"
#include "services/gateway/gateway.h"

enum worker_limits {
    WORKER_BATCH = 8,                         /* frames that are read or written together */
    WORKER_WIRE = (WORKER_BATCH + 1) * 17000, /* their TLS records */
    WORKER_BUCKETS = 1024
};

struct connection;
struct stream;

/* Work for a worker's thread, from another thread. */
struct post {
    struct post *next;
    /* Runs once and frees whatever holds the post. worker is NULL when the worker has stopped: only free
     * then. */
    void (*run)(struct worker *worker, struct post *post);
};

struct worker {
    struct gateway *gateway;
    unsigned number;
    int listen_fd;
    bool started;
    pthread_t thread;
    uv_loop_t loop;

    uv_poll_t accepting;
    uv_timer_t accept_pause;  /* out of descriptors: try again a little later */
    uv_prepare_t before_wait; /* sends what was gathered, before the loop waits */
    uv_idle_t keep_turning;   /* runs while there are connections with work left over */
    struct connection *unfinished;

    uv_async_t wake;
    pthread_mutex_t inbox_lock;
    bool inbox_open;
    struct post *inbox, **inbox_end;

    struct connection *connections;             /* all of them */
    struct connection *buckets[WORKER_BUCKETS]; /* by id */
    uint64_t last_id;

    /* Buffers for the moment, shared by all connections of this thread, so that idle ones hold none. */
    struct connection *wire_owner; /* whose TLS records stand in wire */
    size_t wire_len;
    struct stream *ended_streams; /* freed before the loop waits, when nobody can hold them any more */
    struct stream *gather_owner;  /* whose bytes for the target the vector lists */
    size_t gather_count;
    struct iovec gather[WORKER_BATCH * 4];
    uint8_t wire[WORKER_WIRE];
    uint8_t in[(WORKER_BATCH + 1) * FRAME_MAX]; /* frames from a client */
    uint8_t out[WORKER_BATCH * FRAME_MAX];      /* frames to a client */
};

/* listen_fd becomes the worker's. The thread runs until worker_stop. */
enum tg_code worker_new(struct gateway *gateway, unsigned number, int listen_fd, struct worker **worker,
                        struct tg_error *err) TG_MUST_CHECK;
enum tg_code worker_start(struct worker *worker, struct tg_error *err) TG_MUST_CHECK;
/* Closes all connections, ends the thread. From then on posts are only freed. */
void worker_stop(struct worker *worker);
void worker_free(struct worker *worker); /* NULL is fine */

/* Hands over a post. Any thread. */
void worker_post(struct worker *worker, struct post *post);
/* Takes no more connections and takes leave of those it has. Any thread. */
void worker_drain(struct worker *worker);

/* Connections by number, since whoever waits for an answer may outlive them. NULL: gone. */
struct connection *worker_find(struct worker *worker, uint64_t id);
void worker_add(struct worker *worker, struct connection *connection);
void worker_remove(struct worker *worker, struct connection *connection);
/* Calls connection_continue once more in the loop's next turn. */
void worker_continue_later(struct worker *worker, struct connection *connection);

/* listen.c: starts to accept on the loop. */
enum tg_code listen_start(struct worker *worker, struct tg_error *err) TG_MUST_CHECK;
void listen_stop(struct worker *worker);
/* Opens `count` sockets on one address with SO_REUSEPORT, before privileges are dropped; writes where to into
 * `address`. INVALID_ARGUMENT, UNAVAILABLE: the text names the address. */
enum tg_code listen_open(const char *where, int *fds, size_t count, char address[static 80],
                         struct tg_error *err) TG_MUST_CHECK;
/* "192.0.2.1:40112", "[2001:db8::1]:40112"; at most CONNECTION_SOURCE_LEN with its end. */
void listen_describe(const struct sockaddr_storage *address, char *text);

#endif
