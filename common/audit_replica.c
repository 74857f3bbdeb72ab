#include "common/audit_replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/pb.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 1000,
    APPEND_MIN_MS = 5000,
    APPEND_MAX_MS = 10000,
    LEFT_OUT_AT_ONCE = 256
};

/* ---- sending ---- */

static void on_appended(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response);

static uint32_t batch_budget(const struct audit_list *entries, uint64_t now)
{
    uint64_t budget = 1;
    for (const struct audit_entry *e = entries->first; e != NULL; e = e->next) {
        const struct audit_event *event = e->event;
        bool waited_for = event->done != NULL && event->fate == AUDIT_WAITS;
        uint64_t own = !waited_for ? APPEND_MIN_MS : event->deadline_ms > now ? event->deadline_ms - now : 1;
        if (own > budget)
            budget = own;
    }
    return (uint32_t)(budget < APPEND_MAX_MS ? budget : APPEND_MAX_MS);
}

static void send_batch(struct audit_batch *batch, uint32_t budget_ms)
{
    Tg__Event *events[AUDIT_BATCH_EVENTS];
    Tg__AppendRequest append = TG__APPEND_REQUEST__INIT;
    append.events = events;
    for (struct audit_entry *e = batch->entries.first; e != NULL; e = e->next)
        events[append.n_events++] = e->event->message;
    struct rpc_request request = {.service = &tg__audit__descriptor,
                                  .method = "Append",
                                  .message = &append.base,
                                  .budget_ms = budget_ms,
                                  .request_id = batch->request_id};
    rpc_start(batch->replica->rpc, &request, on_appended, batch);
}

/* A batch that may go now, or NULL. */
static struct audit_batch *next_batch(struct audit_replica *replica, uint64_t now)
{
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        struct audit_batch *batch = &replica->batches[i];
        if (batch->state == BATCH_WAITING && batch->retry_at_ms <= now)
            return batch;
        if (batch->state != BATCH_IDLE || replica->queue.count == 0)
            continue;
        audit_list_take_batch(&replica->queue, &batch->entries);
        random_bytes(batch->request_id, REQUEST_ID_LEN);
        batch->failures = 0;
        return batch;
    }
    return NULL;
}

void audit_replica_pump(struct audit_replica *replica)
{
    struct audit_client *audit = replica->audit;
    for (;;) {
        uint64_t now = clock_now_ms();
        uint32_t budget = 0;
        pthread_mutex_lock(&audit->lock);
        struct audit_batch *batch = audit->stopping ? NULL : next_batch(replica, now);
        if (batch != NULL) {
            batch->state = BATCH_SENDING;
            budget = batch_budget(&batch->entries, now);
        }
        pthread_mutex_unlock(&audit->lock);
        if (batch == NULL)
            return;
        send_batch(batch, budget);
    }
}

uint64_t audit_replica_retry_at(const struct audit_replica *replica)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        const struct audit_batch *batch = &replica->batches[i];
        if (batch->state == BATCH_WAITING && batch->retry_at_ms < next)
            next = batch->retry_at_ms;
    }
    return next;
}

/* ---- what it is owed ---- */

static void leave_out(struct audit_replica *replica, size_t count)
{
    replica->missed += count;
    replica->caught_up = false;
}

bool audit_replica_take(struct audit_replica *replica, struct audit_event *event)
{
    struct audit_entry *entry = audit_entry_new(event);
    if (entry == NULL)
        return false;
    audit_list_append(&replica->queue, entry);
    replica->held++;
    if (replica->held > AUDIT_OWED_MAX) {
        size_t dropped = audit_list_drop(&replica->queue, AUDIT_DURABLE, LEFT_OUT_AT_ONCE);
        replica->held -= dropped;
        leave_out(replica, dropped);
    }
    return true;
}

void audit_replica_purge(struct audit_replica *replica)
{
    replica->held -= audit_list_drop(&replica->queue, AUDIT_FAILED, SIZE_MAX);
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        struct audit_batch *batch = &replica->batches[i];
        if (batch->state != BATCH_WAITING) /* on its way: stays until its end */
            continue;
        replica->held -= audit_list_drop(&batch->entries, AUDIT_FAILED, SIZE_MAX);
        if (batch->entries.count == 0)
            batch->state = BATCH_IDLE;
    }
}

/* ---- what became of a batch ---- */

static void decide(struct audit_client *audit, struct audit_event *event, enum audit_fate fate,
                   struct audit_events *settled)
{
    event->fate = fate;
    audit_events_remove(&audit->waiting, event);
    audit_events_append(settled, event);
}

static void acknowledge_all(struct audit_batch *batch, struct audit_events *settled)
{
    struct audit_replica *replica = batch->replica;
    struct audit_client *audit = replica->audit;
    struct audit_entry *entry;
    while ((entry = audit_list_pop(&batch->entries)) != NULL) {
        struct audit_event *event = entry->event;
        event->acked |= replica->bit;
        if (event->fate == AUDIT_WAITS && (unsigned)__builtin_popcount(event->acked) >= audit->must_ack)
            decide(audit, event, AUDIT_DURABLE, settled);
        audit_entry_free(entry);
        replica->held--;
    }
    replica->caught_up = replica->missed > 0 && replica->held == 0;
}

/* Too many services refuse it, so that those who wait for it can be told now. An event that nobody waits for
 * is tried again, unless it will never be taken. */
static void refuse_all(struct audit_batch *batch, bool for_good, struct audit_events *settled)
{
    struct audit_client *audit = batch->replica->audit;
    for (struct audit_entry *e = batch->entries.first; e != NULL; e = e->next) {
        struct audit_event *event = e->event;
        event->refused |= batch->replica->bit;
        unsigned refused = (unsigned)__builtin_popcount(event->refused & ~event->acked);
        if (event->fate == AUDIT_WAITS && refused > audit->count - audit->must_ack &&
            (for_good || event->done != NULL))
            decide(audit, event, AUDIT_FAILED, settled);
    }
}

static void give_up_all(struct audit_batch *batch)
{
    struct audit_replica *replica = batch->replica;
    struct audit_entry *entry;
    while ((entry = audit_list_pop(&batch->entries)) != NULL) {
        if (entry->event->fate != AUDIT_FAILED)
            leave_out(replica, 1);
        audit_entry_free(entry);
        replica->held--;
    }
}

static void wait_to_retry(struct audit_batch *batch)
{
    uint32_t shift = batch->failures < 5 ? batch->failures : 5;
    uint32_t pause = (uint32_t)BACKOFF_FIRST_MS << shift;
    batch->failures++;
    batch->state = BATCH_WAITING;
    batch->retry_at_ms = clock_now_ms() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    audit_wake_keeper(batch->replica->audit, batch->retry_at_ms);
}

/* One bad event must not take the others of its batch with it: halves are tried until it stands alone. */
static void split_batch(struct audit_batch *batch)
{
    struct audit_list rest = {0};
    struct audit_list *queue = &batch->replica->queue;
    audit_list_split(&batch->entries, &rest);
    struct audit_entry *entry;
    while ((entry = audit_list_pop(queue)) != NULL)
        audit_list_append(&rest, entry);
    *queue = rest;
    random_bytes(batch->request_id, REQUEST_ID_LEN);
    batch->state = BATCH_WAITING;
    batch->retry_at_ms = 0;
}

static bool may_pass(enum tg_code status)
{
    return status == TG_UNAVAILABLE || status == TG_UNKNOWN || status == TG_DEADLINE_EXCEEDED ||
           status == TG_CANCELLED;
}

/* Moves the events whose fate is decided by this answer to `settled`. */
static void judge(struct audit_batch *batch, enum tg_code status, struct audit_events *settled)
{
    batch->state = BATCH_IDLE;
    if (status == TG_OK) {
        acknowledge_all(batch, settled);
    } else if (status != TG_INVALID_ARGUMENT) {
        if (!may_pass(status))
            refuse_all(batch, false, settled);
        wait_to_retry(batch);
    } else if (batch->entries.count > 1) {
        split_batch(batch);
    } else {
        refuse_all(batch, true, settled);
        give_up_all(batch);
    }
}

static void log_change(const struct audit_replica *replica, bool was_failing, enum tg_code status,
                       const char *text)
{
    if (status != TG_OK && !was_failing)
        LOG(LOG_WARNING, NULL, "audit.failing", LOG_TEXT("peer", replica->name), LOG_CODE(status),
            LOG_TEXT("error", text));
    else if (status == TG_OK && was_failing)
        LOG(LOG_INFO, NULL, "audit.recovered", LOG_TEXT("peer", replica->name), LOG_CODE(status));
}

static void on_appended(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct audit_batch *batch = arg;
    struct audit_replica *replica = batch->replica;
    struct audit_client *audit = replica->audit;
    struct audit_events settled = {0};
    (void)response;
    pthread_mutex_lock(&audit->lock);
    bool was_failing = replica->last.code != TG_OK;
    if (status == TG_OK || !was_failing || strstr(text, RPC_RESTING) == NULL)
        (void)tg_fail(&replica->last, status, "%s", text);
    judge(batch, status, &settled);
    for (unsigned i = 0; status != TG_OK && i < audit->count; i++)
        audit_replica_purge(&audit->replicas[i]);
    if (audit->waiting.count == 0)
        pthread_cond_broadcast(&audit->drained);
    pthread_mutex_unlock(&audit->lock);
    log_change(replica, was_failing, status, text);
    audit_settle(audit, &settled, status, text);
    audit_pump(audit);
}

/* ---- news of it ---- */

void audit_replica_announce(struct audit_replica *replica)
{
    Tg__Event event = TG__EVENT__INIT;
    char peer[128], what[128];
    pthread_mutex_lock(&replica->audit->lock);
    bool behind = replica->missed > 0 && !replica->behind_told;
    bool caught_up = replica->behind_told && replica->caught_up;
    uint64_t missed = replica->missed;
    replica->behind_told = (replica->behind_told || behind) && !caught_up;
    if (caught_up)
        replica->missed = 0;
    pthread_mutex_unlock(&replica->audit->lock);
    if (!behind && !caught_up)
        return;
    snprintf(peer, sizeof peer, "%s %s", replica->name, replica->where);
    snprintf(what, sizeof what, "%" PRIu64 " events are missing in its log%s", missed,
             caught_up ? "; it is complete again from here on" : " so far: too many waited for it");
    event.event = pb_string(caught_up ? "audit.replica_caught_up" : "audit.replica_behind");
    event.outcome = caught_up ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event.peer = peer;
    event.reason = pb_string(caught_up ? "" : what);
    event.detail = pb_string(caught_up ? what : "");
    LOG(LOG_WARNING, NULL, event.event, LOG_TEXT("peer", peer), LOG_TEXT("detail", what));
    audit_post_last(replica->audit, &event);
}

/* ---- life ---- */

enum tg_code audit_replica_open(struct audit_replica *replica, struct audit_client *audit, unsigned number,
                                const struct rpc_peer *peer, struct tg_error *err)
{
    replica->audit = audit;
    replica->bit = 1u << number;
    snprintf(replica->name, sizeof replica->name, number == 0 ? "audit" : "audit-%u", number + 1);
    snprintf(replica->where, sizeof replica->where, "%s", ((char **)peer->endpoints.items)[0]);
    for (size_t i = 0; i < AUDIT_BATCHES; i++)
        replica->batches[i].replica = replica;
    return rpc_client_open(&replica->rpc, replica->name, peer, err);
}

void audit_replica_stop(struct audit_replica *replica)
{
    rpc_client_close(replica->rpc); /* the batches under way end as CANCELLED */
    replica->rpc = NULL;
}

static size_t drop_all(struct audit_list *list)
{
    size_t owed = 0;
    struct audit_entry *entry;
    while ((entry = audit_list_pop(list)) != NULL) {
        owed += entry->event->fate == AUDIT_DURABLE;
        audit_entry_free(entry);
    }
    return owed;
}

size_t audit_replica_drop_rest(struct audit_replica *replica)
{
    size_t owed = drop_all(&replica->queue);
    for (size_t i = 0; i < AUDIT_BATCHES; i++)
        owed += drop_all(&replica->batches[i].entries);
    return owed;
}
