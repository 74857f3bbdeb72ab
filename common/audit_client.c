#include "common/audit_client.h"

#include <stdlib.h>
#include <string.h>

#include "common/audit_batch.h"
#include "common/log.h"
#include "common/monotonic.h"

enum { NOTICES_MAX = 64 };

/* ---- the keeper ---- */

struct notice {
    audit_done *done;
    void *arg;
};

static size_t collect_expired(struct audit_list *list, uint64_t now, struct notice *notices, size_t count)
{
    for (struct audit_entry *e = list->first; e != NULL && count < NOTICES_MAX; e = e->next) {
        if (!audit_entry_expired(e, now))
            continue;
        notices[count++] = (struct notice){e->done, e->arg};
        e->told = true;
    }
    return count;
}

/* Under the lock. Told entries of a batch on its way stay until its end. */
static void purge_told(struct audit_client *audit, struct audit_list *list)
{
    struct audit_list told = {0};
    audit_list_extract(list, audit_entry_told, 0, &told);
    audit_let_go(audit, told.count);
    audit_end_entries(audit, &told, TG_DEADLINE_EXCEEDED, "");
}

/* The best reason known: what the audit service said last, else that nobody is there, else that time ran out.
 */
static struct tg_error why_late(const struct audit_client *audit)
{
    struct tg_error why = audit->last;
    if (why.code == TG_OK && !rpc_client_ready(audit->rpc))
        (void)tg_fail(&why, TG_UNAVAILABLE, "audit: no connection to the audit service");
    else if (why.code == TG_OK)
        (void)tg_fail(&why, TG_DEADLINE_EXCEEDED, "audit: the event was not durable in time");
    return why;
}

/* True: some were told, and there may be more. Called and returns with the lock held. */
static bool expire(struct audit_client *audit, uint64_t now)
{
    struct notice notices[NOTICES_MAX];
    size_t count = collect_expired(&audit->queue, now, notices, 0);
    purge_told(audit, &audit->queue);
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        struct audit_batch *batch = &audit->batches[i];
        count = collect_expired(&batch->entries, now, notices, count);
        if (batch->state != BATCH_WAITING)
            continue;
        purge_told(audit, &batch->entries);
        if (batch->entries.count == 0)
            batch->state = BATCH_IDLE;
    }
    struct tg_error why = why_late(audit);
    pthread_mutex_unlock(&audit->lock);
    for (size_t i = 0; i < count; i++)
        notices[i].done(notices[i].arg, why.code, why.text);
    pthread_mutex_lock(&audit->lock);
    return count > 0;
}

static uint64_t next_wake(const struct audit_client *audit)
{
    uint64_t next = audit_list_next_deadline(&audit->queue);
    for (size_t i = 0; i < AUDIT_BATCHES; i++) {
        const struct audit_batch *batch = &audit->batches[i];
        uint64_t own = audit_list_next_deadline(&batch->entries);
        if (batch->state == BATCH_WAITING && batch->retry_at_ms < own)
            own = batch->retry_at_ms;
        if (own < next)
            next = own;
    }
    return next;
}

static void sleep_until(struct audit_client *audit, uint64_t at_ms)
{
    audit->wake_at_ms = at_ms;
    (void)monotonic_wait(&audit->wake, &audit->lock, at_ms);
    audit->wake_at_ms = 0;
}

static void *keep(void *arg)
{
    struct audit_client *audit = arg;
    pthread_mutex_lock(&audit->lock);
    while (!audit->stopping) {
        if (expire(audit, clock_now_ms()))
            continue;
        pthread_mutex_unlock(&audit->lock);
        audit_pump(audit);
        pthread_mutex_lock(&audit->lock);
        uint64_t next = next_wake(audit);
        if (next > clock_now_ms() && !audit->stopping)
            sleep_until(audit, next);
    }
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void init_waiting(struct audit_client *audit)
{
    monotonic_cond_init(&audit->wake);
    monotonic_cond_init(&audit->drained);
    pthread_mutex_init(&audit->lock, NULL);
    for (size_t i = 0; i < AUDIT_BATCHES; i++)
        audit->batches[i].audit = audit;
}

static void destroy(struct audit_client *audit)
{
    rpc_client_close(audit->rpc);
    pthread_mutex_destroy(&audit->lock);
    pthread_cond_destroy(&audit->wake);
    pthread_cond_destroy(&audit->drained);
    free(audit->service);
    free(audit);
}

static enum tg_code start(struct audit_client *audit, const char *service, const struct rpc_peer *peer,
                          struct tg_error *err)
{
    audit->service = strdup(service);
    TG_ENSURE(audit->service != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the audit client");
    TG_TRY(rpc_client_open(&audit->rpc, "audit", peer, err));
    int rc = pthread_create(&audit->keeper, NULL, keep, audit);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the audit client's thread: %s",
              strerror(rc));
    return TG_OK;
}

enum tg_code audit_client_open(struct audit_client **out, const char *service, const struct rpc_peer *peer,
                               struct tg_error *err)
{
    struct audit_client *audit = calloc(1, sizeof *audit);
    TG_ENSURE(audit != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the audit client");
    init_waiting(audit);
    enum tg_code code = start(audit, service, peer, err);
    if (code != TG_OK) {
        destroy(audit);
        return code;
    }
    *out = audit;
    return TG_OK;
}

static void await_drained(struct audit_client *audit, unsigned timeout_ms)
{
    uint64_t at_ms = clock_now_ms() + timeout_ms;
    while (audit->held > 0 && monotonic_wait(&audit->drained, &audit->lock, at_ms))
        ;
}

/* No thread but this one knows the client any more. */
static bool end_rest(struct audit_client *audit)
{
    static const char why[] = "audit: the client was closed first";
    bool drained = audit->held == 0;
    audit_end_entries(audit, &audit->queue, TG_CANCELLED, why);
    for (size_t i = 0; i < AUDIT_BATCHES; i++)
        audit_end_entries(audit, &audit->batches[i].entries, TG_CANCELLED, why);
    return drained;
}

bool audit_client_close(struct audit_client *audit, unsigned timeout_ms)
{
    if (audit == NULL)
        return true;
    pthread_mutex_lock(&audit->lock);
    await_drained(audit, timeout_ms);
    audit->stopping = true;
    pthread_cond_signal(&audit->wake);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->keeper, NULL);
    rpc_client_close(audit->rpc); /* the batches under way end as CANCELLED */
    audit->rpc = NULL;
    bool drained = end_rest(audit);
    destroy(audit);
    return drained;
}

bool audit_client_ready(const struct audit_client *audit)
{
    return rpc_client_ready(audit->rpc);
}

uint64_t audit_client_lost(const struct audit_client *audit)
{
    return atomic_load(&audit->lost);
}

void audit_client_metrics(struct audit_client *audit, struct metrics *out)
{
    pthread_mutex_lock(&audit->lock);
    size_t held = audit->held;
    pthread_mutex_unlock(&audit->lock);
    metrics_one(out, METRIC_GAUGE, "ticketgate_audit_events_unsent", "Reported and not yet durable.", held);
    metrics_one(out, METRIC_COUNTER, "ticketgate_audit_events_lost_total", "Must stay 0.",
                audit_client_lost(audit));
    metrics_one(out, METRIC_GAUGE, "ticketgate_audit_connected", "1: the audit service can be reached.",
                audit_client_ready(audit));
}

/* ---- reporting ---- */

static void refuse(struct audit_client *audit, const Tg__Event *event, audit_done *done, void *arg,
                   const char *text)
{
    if (done != NULL)
        done(arg, TG_RESOURCE_EXHAUSTED, text);
    else
        audit_lose(audit, event->event, TG_RESOURCE_EXHAUSTED, text);
}

static bool enqueue(struct audit_client *audit, struct audit_entry *entry)
{
    pthread_mutex_lock(&audit->lock);
    bool fits = audit->held < AUDIT_QUEUE_MAX && !audit->stopping;
    if (fits) {
        audit_list_append(&audit->queue, entry);
        audit->held++;
        audit_wake_keeper(audit, entry->deadline_ms);
    }
    pthread_mutex_unlock(&audit->lock);
    return fits;
}

void audit_report(struct audit_client *audit, const Tg__Event *event, uint32_t budget_ms, audit_done *done,
                  void *arg)
{
    struct audit_entry *entry = audit_entry_new(event, audit->service);
    if (entry == NULL) {
        refuse(audit, event, done, arg, "audit: the event is too large, or memory is out");
        return;
    }
    entry->done = done;
    entry->arg = arg;
    if (done != NULL)
        entry->deadline_ms = clock_now_ms() + budget_ms;
    if (enqueue(audit, entry)) {
        audit_pump(audit);
        return;
    }
    audit_entry_free(entry);
    refuse(audit, event, done, arg, "audit: too many events wait to become durable");
}
