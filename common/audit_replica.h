/* Inside of the audit client: one of the audit services, what it is still to be sent, and the batches under
 * way to it. */
#ifndef TG_COMMON_AUDIT_REPLICA_H
#define TG_COMMON_AUDIT_REPLICA_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/audit_queue.h"
#include "common/trace.h"

enum batch_state { BATCH_IDLE, BATCH_SENDING, BATCH_WAITING };

/* Keeps its request id until it is durable, so that the audit service can tell a repetition. */
struct audit_batch {
    struct audit_replica *replica;
    enum batch_state state;
    struct audit_list entries;
    uint8_t request_id[REQUEST_ID_LEN];
    unsigned failures;
    uint64_t retry_at_ms;
};

struct audit_replica {
    struct audit_client *audit;
    uint32_t bit;
    char name[16];  /* "audit", "audit-2" … in the order of the configuration */
    char where[96]; /* its first endpoint */
    struct rpc_client *rpc;

    /* Over what follows is the client's lock. */
    struct audit_list queue;
    struct audit_batch batches[AUDIT_BATCHES];
    size_t held;          /* entries in the queue and in batches */
    struct tg_error last; /* why the last batch failed; OK after a success */
    uint64_t missed;      /* durable elsewhere, missing there: since it was complete last */
    bool behind_told, caught_up;
};

struct audit_client {
    char *service;
    unsigned must_ack, count;
    struct audit_replica replicas[AUDIT_SERVICES_MAX];
    atomic_uint_fast64_t lost;
    pthread_t keeper; /* watches deadlines and starts what is to be tried again */

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t wake;
    pthread_cond_t drained;
    struct audit_events waiting; /* fate open */
    uint64_t wake_at_ms;         /* what the keeper sleeps until */
    bool stopping;
};

/* ---- of the client ---- */

/* Tells those who wait for events whose fate is decided, counts what is lost, and lets go of them. Without
 * the lock. code and text: of those that failed. */
void audit_settle(struct audit_client *audit, struct audit_events *settled, enum tg_code code,
                  const char *text);
/* Sends what may go now, to all. Any thread, without the lock. */
void audit_pump(struct audit_client *audit);
/* Under the lock: the keeper has something to do at `at_ms`. */
void audit_wake_keeper(struct audit_client *audit, uint64_t at_ms);

/* ---- of one service; under the lock unless it says otherwise ---- */

enum tg_code audit_replica_open(struct audit_replica *replica, struct audit_client *audit, unsigned number,
                                const struct rpc_peer *peer, struct tg_error *err) TG_MUST_CHECK;
/* Without the lock: batches under way end; no callback comes after it. Twice is fine. */
void audit_replica_stop(struct audit_replica *replica);
/* Drops what is left; returns how many durable events the service never got. */
size_t audit_replica_drop_rest(struct audit_replica *replica);

/* The event is to be sent there, too. False: memory is out. When more is owed than fits, the oldest that are
 * durable elsewhere are left out. */
bool audit_replica_take(struct audit_replica *replica, struct audit_event *event);
/* Events have failed: they are not sent any more. */
void audit_replica_purge(struct audit_replica *replica);
/* When it is to be tried again; UINT64_MAX: not before something happens. */
uint64_t audit_replica_retry_at(const struct audit_replica *replica);
/* Without the lock. */
void audit_replica_pump(struct audit_replica *replica);
/* Without the lock: reports that it fell behind, or has caught up, if that is news. */
void audit_replica_announce(struct audit_replica *replica);

#endif
