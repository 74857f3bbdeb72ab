#include "common/audit_batch.h"

#include <stdlib.h>

#include "common/log.h"

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 1000, APPEND_MIN_MS = 5000, APPEND_MAX_MS = 10000 };

/* ---- telling ---- */

void audit_lose(struct audit_client *audit, const char *event, enum tg_code code, const char *text)
{
    atomic_fetch_add(&audit->lost, 1);
    LOG(LOG_ERROR, NULL, "audit.lost", LOG_TEXT("lost_event", event), LOG_CODE(code),
        LOG_TEXT("error", text));
}

/* Ends entries that no list of the client's holds any more. */
void audit_end_entries(struct audit_client *audit, struct audit_list *list, enum tg_code code,
                       const char *text)
{
    struct audit_entry *entry;
    while ((entry = audit_list_pop(list)) != NULL) {
        if (entry->done != NULL && !entry->told)
            entry->done(entry->arg, code, text);
        else if (entry->done == NULL && code != TG_OK)
            audit_lose(audit, entry->event->event, code, text);
        audit_entry_free(entry);
    }
}

void audit_let_go(struct audit_client *audit, size_t count)
{
    audit->held -= count;
    if (audit->held == 0)
        pthread_cond_broadcast(&audit->drained);
}

void audit_wake_keeper(struct audit_client *audit, uint64_t at_ms)
{
    if (at_ms < audit->wake_at_ms)
        pthread_cond_signal(&audit->wake);
}

/* ---- sending ---- */

static void on_appended(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response);

static uint32_t batch_budget(const struct audit_list *entries, uint64_t now)
{
    uint64_t budget = 1;
    for (const struct audit_entry *e = entries->first; e != NULL; e = e->next) {
        uint64_t own = e->done == NULL ? APPEND_MIN_MS : e->deadline_ms > now ? e->deadline_ms - now : 1;
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
        events[append.n_events++] = e->event;
    struct rpc_request request = {.service = &tg__audit__descriptor,
                                  .method = "Append",
                                  .message = &append.base,
                                  .budget_ms = budget_ms,
                                  .request_id = batch->request_id};
    rpc_start(batch->audit->rpc, &request, on_appended, batch);
}

/* Under the lock: a batch that may go now, or NULL. */
static struct audit_batch *next_batch(struct audit_client *audit, uint64_t now)
{
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        struct audit_batch *batch = &audit->batches[i];
        if (batch->state == BATCH_WAITING && batch->retry_at_ms <= now)
            return batch;
        if (batch->state != BATCH_IDLE || audit->queue.count == 0)
            continue;
        audit_list_take_batch(&audit->queue, &batch->entries);
        random_bytes(batch->request_id, REQUEST_ID_LEN);
        batch->failures = 0;
        return batch;
    }
    return NULL;
}

void audit_pump(struct audit_client *audit)
{
    for (;;) {
        uint64_t now = clock_now_ms();
        uint32_t budget = 0;
        pthread_mutex_lock(&audit->lock);
        struct audit_batch *batch = audit->stopping ? NULL : next_batch(audit, now);
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

/* ---- what became of a batch ---- */

static void wait_to_retry(struct audit_batch *batch)
{
    uint32_t shift = batch->failures < 5 ? batch->failures : 5;
    uint32_t pause = (uint32_t)BACKOFF_FIRST_MS << shift;
    batch->failures++;
    batch->state = BATCH_WAITING;
    batch->retry_at_ms = clock_now_ms() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    audit_wake_keeper(batch->audit, batch->retry_at_ms);
}

static bool may_pass(enum tg_code status)
{
    return status == TG_UNAVAILABLE || status == TG_UNKNOWN || status == TG_DEADLINE_EXCEEDED ||
           status == TG_CANCELLED;
}

static bool entry_waits(const struct audit_entry *entry, uint64_t now_ms)
{
    (void)now_ms;
    return entry->done != NULL;
}

/* One bad event must not take the others of its batch with it: halves are tried until it stands alone. */
static void split_batch(struct audit_batch *batch)
{
    struct audit_list rest = {0};
    audit_list_split(&batch->entries, &rest);
    struct audit_entry *entry;
    while ((entry = audit_list_pop(&batch->audit->queue)) != NULL)
        audit_list_append(&rest, entry);
    batch->audit->queue = rest;
    random_bytes(batch->request_id, REQUEST_ID_LEN);
    batch->state = BATCH_WAITING;
    batch->retry_at_ms = 0;
}

/* Under the lock: moves the entries whose story ends here to `ended`. */
static void judge(struct audit_batch *batch, enum tg_code status, struct audit_list *ended)
{
    bool alone = batch->entries.count == 1;
    batch->state = BATCH_IDLE;
    if (status == TG_OK || (status == TG_INVALID_ARGUMENT && alone)) {
        *ended = batch->entries;
        batch->entries = (struct audit_list){0};
        return;
    }
    bool final = !may_pass(status) && status != TG_INVALID_ARGUMENT;
    audit_list_extract(&batch->entries, final ? entry_waits : audit_entry_told, 0, ended);
    if (batch->entries.count == 0)
        return;
    if (status == TG_INVALID_ARGUMENT)
        split_batch(batch);
    else
        wait_to_retry(batch);
}

static void log_change(bool was_failing, enum tg_code status, const char *text)
{
    if (status != TG_OK && !was_failing)
        LOG(LOG_WARNING, NULL, "audit.failing", LOG_CODE(status), LOG_TEXT("error", text));
    else if (status == TG_OK && was_failing)
        LOG(LOG_INFO, NULL, "audit.recovered", LOG_CODE(status));
}

static void on_appended(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct audit_batch *batch = arg;
    struct audit_client *audit = batch->audit;
    struct audit_list ended = {0};
    (void)response;
    pthread_mutex_lock(&audit->lock);
    bool was_failing = audit->last.code != TG_OK;
    (void)tg_fail(&audit->last, status, "%s", text);
    judge(batch, status, &ended);
    audit_let_go(audit, ended.count);
    pthread_mutex_unlock(&audit->lock);
    log_change(was_failing, status, text);
    audit_end_entries(audit, &ended, status, text);
    audit_pump(audit);
}
