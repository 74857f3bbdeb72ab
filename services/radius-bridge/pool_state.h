/* What pool.c, pool_link.c and pool_watch.c share. Everything is under the pool's one lock; it is never held
 * while radcli works. */
#ifndef TG_RADIUS_POOL_STATE_H
#define TG_RADIUS_POOL_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "services/radius-bridge/pool.h"

/* A login under way. */
struct job {
    const Tg__LoginRequest *request;
    pool_done *done;
    void *arg;
    uint64_t deadline_ms;
    uint64_t queued_ms;   /* at the server whose queue it is in */
    unsigned tried;       /* bit by bit, the servers that failed it */
    bool bound;           /* an open challenge: this server and no other */
    bool asked_again;     /* a closed connection has been replaced once */
    bool unanswered;      /* some server was asked and did not answer */
    struct tg_error last; /* why it has not been answered yet */
    struct job *next;
};

struct job_list {
    struct job *head, *tail;
    size_t length;
};

enum link_state {
    LINK_SPARE,      /* not connected; waits on the server's `spare` */
    LINK_CONNECTING, /* blocked in radcli, for as long as the network likes */
    LINK_IDLE,       /* connected; waits on the server's `idle` */
    LINK_BUSY        /* blocked in radcli with a job in hand */
};

/* One thread and its connection. */
struct link {
    struct radius_server *server;
    pthread_t thread;
    bool started;
    enum link_state state;
    uint64_t since_ms;   /* in this state */
    uint64_t overdue_ms; /* BUSY: when the question is given up */
    bool aborted;        /* BUSY: it was */
    struct connection *connection;
};

enum reach { REACH_UNKNOWN, REACH_UP, REACH_DOWN };

struct radius_server {
    struct pool *pool;
    struct radius_server_config config; /* its strings are ours */
    unsigned bit;
    struct link *links; /* options.workers of them */
    pthread_cond_t idle;
    pthread_cond_t spare;
    struct job_list queue;
    size_t count[LINK_BUSY + 1]; /* links in each state */
    enum reach reach;
    uint64_t retry_ms;       /* not connected to again before this */
    uint32_t backoff_ms;     /* what the next failure adds */
    uint64_t last_answer_ms; /* to anybody */
    uint64_t mute_until_ms;
    struct tg_error why_down;
};

struct pool {
    struct pool_options options;
    pthread_mutex_t lock;
    pthread_cond_t watch; /* the watchdog: there is something to watch again, or the end */
    pthread_cond_t ended; /* a thread has ended */
    pthread_t watchdog;
    struct radius_server servers[POOL_SERVERS_MAX];
    size_t waiting; /* jobs in queues */
    size_t threads; /* that run */
    bool started;
    bool watch_is_calm; /* the watchdog looks only once a second: wake it */
    bool stopping;
};

/* What is told once the lock is free. */
struct verdict {
    struct job *job; /* NULL: nothing */
    struct tg_error why;
};

void jobs_push(struct job_list *list, struct job *job);
void jobs_push_front(struct job_list *list, struct job *job);
struct job *jobs_pop(struct job_list *list);

/* With the lock held: */
void link_set_state(struct link *link, enum link_state state);
/* Puts the job into the queue of the best server that has not failed it. False: there is none, *verdict says
 * what to tell. */
bool pool_place(struct pool *pool, struct job *job, struct verdict *verdict);
void pool_put(struct radius_server *server, struct job *job, bool front);
/* A server that has failed this job. */
void job_failed_at(struct job *job, const struct radius_server *server, const struct tg_error *why);
void server_went_up(struct radius_server *server);
/* Its queue moves to *homeless: place or tell them. */
void server_went_down(struct radius_server *server, const struct tg_error *why, struct job_list *homeless);
/* True: a spare link of this server should connect now. */
bool server_wants_link(const struct radius_server *server, uint64_t now_ms);
/* Places each of the homeless; who cannot be placed is told, for which the lock is let go meanwhile. */
void pool_rehome(struct pool *pool, struct job_list *homeless);
/* Something has begun that may become overdue. */
void pool_wake_watch(struct pool *pool);

/* Without the lock: tells and frees. */
void verdict_tell(struct verdict *verdict);
void job_tell(struct job *job, enum tg_code status, const char *text, const struct radius_answer *answer,
              const char *server);

void *link_main(void *link);
void *watch_main(void *pool);

#endif
