/* Inside of the audit client: batches under way, and what ends an event. */
#ifndef TG_COMMON_AUDIT_BATCH_H
#define TG_COMMON_AUDIT_BATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/audit_queue.h"
#include "common/trace.h"

enum batch_state { BATCH_IDLE, BATCH_SENDING, BATCH_WAITING };

/* Keeps its request id until it is durable, so that the audit service can tell a repetition. */
struct audit_batch {
    struct audit_client *audit;
    enum batch_state state;
    struct audit_list entries;
    uint8_t request_id[REQUEST_ID_LEN];
    unsigned failures;
    uint64_t retry_at_ms;
};

struct audit_client {
    char *service;
    struct rpc_client *rpc;
    atomic_uint_fast64_t lost;
    pthread_t keeper; /* watches deadlines and starts what is to be tried again */

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t wake;
    pthread_cond_t drained;
    struct audit_list queue;
    struct audit_batch batches[AUDIT_BATCHES];
    size_t held;          /* entries in the queue and in batches */
    uint64_t wake_at_ms;  /* what the keeper sleeps until */
    struct tg_error last; /* why the last batch failed; OK after a success */
    bool stopping;
};

/* Sends what may go now. Any thread, without the lock. */
void audit_pump(struct audit_client *audit);
/* Ends entries that no list of the client's holds any more: tells those who wait, counts what is lost.
 * Without the lock, since callers are told. */
void audit_end_entries(struct audit_client *audit, struct audit_list *list, enum tg_code code,
                       const char *text);
/* An event that nobody waits for and that will never be durable. */
void audit_lose(struct audit_client *audit, const char *event, enum tg_code code, const char *text);
/* Under the lock: `count` entries left the lists; or the keeper has something to do at `at_ms`. */
void audit_let_go(struct audit_client *audit, size_t count);
void audit_wake_keeper(struct audit_client *audit, uint64_t at_ms);

#endif
