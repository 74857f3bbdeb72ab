#include "common/audit_client.h"

#include <stdlib.h>
#include <string.h>

#include "common/audit_replica.h"
#include "common/log.h"
#include "common/monotonic.h"

const struct config_row audit_replica_rows[] = {
    {.key = "endpoints",
     .type = CONFIG_STRINGS,
     .offset = offsetof(struct audit_replica_config, endpoints),
     .min = 1,
     .max = RPC_ENDPOINTS_MAX,
     .help = "Addresses of this audit service: tls+tcp://host:port or ipc:///path"},
    {.key = NULL},
};

/* ---- how events end ---- */

static void lose(struct audit_client *audit, const char *event, enum tg_code code, const char *text)
{
    atomic_fetch_add(&audit->lost, 1);
    LOG(LOG_ERROR, NULL, "audit.lost", LOG_TEXT("lost_event", event), LOG_CODE(code),
        LOG_TEXT("error", text));
}

static void tell(struct audit_client *audit, const struct audit_event *event, enum tg_code code,
                 const char *text)
{
    bool durable = event->fate == AUDIT_DURABLE;
    if (event->done != NULL)
        event->done(event->arg, durable ? TG_OK : code, durable ? "" : text);
    else if (!durable)
        lose(audit, event->message->event, code, text);
}

void audit_settle(struct audit_client *audit, struct audit_events *settled, enum tg_code code,
                  const char *text)
{
    for (const struct audit_event *e = settled->first; e != NULL; e = e->next)
        tell(audit, e, code, text);
    pthread_mutex_lock(&audit->lock);
    while (settled->first != NULL) {
        struct audit_event *event = settled->first;
        audit_events_remove(settled, event);
        audit_event_release(event);
    }
    pthread_mutex_unlock(&audit->lock);
}

void audit_pump(struct audit_client *audit)
{
    for (unsigned i = 0; i < audit->count; i++) {
        audit_replica_announce(&audit->replicas[i]);
        audit_replica_pump(&audit->replicas[i]);
    }
}

void audit_wake_keeper(struct audit_client *audit, uint64_t at_ms)
{
    if (at_ms < audit->wake_at_ms)
        pthread_cond_signal(&audit->wake);
}

/* ---- the keeper ---- */

/* The best reason known: what a service that has not acknowledged the event said last, else that it cannot be
 * reached, else that time ran out. Under the lock. */
static void why_late(const struct audit_client *audit, const struct audit_event *event, struct tg_error *why)
{
    for (unsigned i = audit->count; i-- > 0;) {
        const struct audit_replica *replica = &audit->replicas[i];
        if (event->acked & replica->bit)
            continue;
        if (replica->last.code != TG_OK)
            *why = replica->last;
        else if (!rpc_client_ready(replica->rpc))
            (void)tg_fail(why, TG_UNAVAILABLE, "%s: no connection to the audit service", replica->name);
        else
            (void)tg_fail(why, TG_DEADLINE_EXCEEDED, "%s: the event was not durable in time", replica->name);
    }
    struct tg_error cause = *why;
    if (audit->count > 1)
        (void)tg_fail(why, cause.code, "%d of the %u audit services that must have the event: %s",
                      __builtin_popcount(event->acked), audit->must_ack, cause.text);
}

/* Under the lock: the first event whose deadline has come, out of the list; NULL: none. */
static struct audit_event *take_expired(struct audit_client *audit, uint64_t now)
{
    struct audit_event *event = audit->waiting.first;
    while (event != NULL && event->deadline_ms > now)
        event = event->next;
    if (event == NULL)
        return NULL;
    event->fate = AUDIT_FAILED;
    audit_events_remove(&audit->waiting, event);
    return event;
}

/* Called and returns with the lock held. */
static void expire(struct audit_client *audit)
{
    struct audit_event *event;
    bool any = false;
    while ((event = take_expired(audit, clock_now_ms())) != NULL) {
        struct tg_error why = {.code = TG_DEADLINE_EXCEEDED};
        why_late(audit, event, &why);
        pthread_mutex_unlock(&audit->lock);
        tell(audit, event, why.code, why.text);
        pthread_mutex_lock(&audit->lock);
        audit_event_release(event);
        any = true;
    }
    for (unsigned i = 0; any && i < audit->count; i++)
        audit_replica_purge(&audit->replicas[i]);
    if (audit->waiting.count == 0)
        pthread_cond_broadcast(&audit->drained);
}

static uint64_t next_wake(const struct audit_client *audit)
{
    uint64_t next = audit_events_next_deadline(&audit->waiting);
    for (unsigned i = 0; i < audit->count; i++) {
        uint64_t retry = audit_replica_retry_at(&audit->replicas[i]);
        if (retry < next)
            next = retry;
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
        expire(audit);
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
}

static void stop_replicas(struct audit_client *audit)
{
    for (unsigned i = 0; i < audit->count; i++)
        audit_replica_stop(&audit->replicas[i]);
}

static void destroy(struct audit_client *audit)
{
    stop_replicas(audit);
    pthread_mutex_destroy(&audit->lock);
    pthread_cond_destroy(&audit->wake);
    pthread_cond_destroy(&audit->drained);
    free(audit->service);
    free(audit);
}

static enum tg_code open_replicas(struct audit_client *audit, const struct audit_services *services,
                                  struct tg_error *err)
{
    const struct audit_replica_config *others = services->replicas.items;
    size_t count = 1 + services->replicas.count;
    TG_ENSURE(count <= AUDIT_SERVICES_MAX, err, TG_INVALID_ARGUMENT, "audit: at most %d audit services",
              AUDIT_SERVICES_MAX);
    TG_ENSURE(services->must_ack >= 1 && (uint64_t)services->must_ack <= count, err, TG_INVALID_ARGUMENT,
              "audit.must_ack is %d, but there are %zu audit services: add to audit.replicas, or lower it",
              (int)services->must_ack, count);
    audit->must_ack = (unsigned)services->must_ack;
    for (size_t i = 0; i < count; i++) {
        struct rpc_peer peer = services->first;
        if (i > 0)
            peer.endpoints = others[i - 1].endpoints;
        TG_TRY(audit_replica_open(&audit->replicas[i], audit, (unsigned)i, &peer, err));
        audit->count++;
    }
    return TG_OK;
}

static enum tg_code start(struct audit_client *audit, const char *service,
                          const struct audit_services *services, struct tg_error *err)
{
    audit->service = strdup(service);
    TG_ENSURE(audit->service != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the audit client");
    TG_TRY(open_replicas(audit, services, err));
    int rc = pthread_create(&audit->keeper, NULL, keep, audit);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the audit client's thread: %s",
              strerror(rc));
    return TG_OK;
}

enum tg_code audit_client_open(struct audit_client **out, const char *service,
                               const struct audit_services *services, struct tg_error *err)
{
    struct audit_client *audit = calloc(1, sizeof *audit);
    TG_ENSURE(audit != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the audit client");
    init_waiting(audit);
    enum tg_code code = start(audit, service, services, err);
    if (code != TG_OK) {
        destroy(audit);
        return code;
    }
    *out = audit;
    return TG_OK;
}

/* Nothing waits, and no service that works is owed anything. Under the lock. */
static bool is_drained(const struct audit_client *audit)
{
    for (unsigned i = 0; i < audit->count; i++) {
        const struct audit_replica *replica = &audit->replicas[i];
        if (replica->held > 0 && replica->last.code == TG_OK && rpc_client_ready(replica->rpc))
            return false;
    }
    return audit->waiting.count == 0;
}

static void await_drained(struct audit_client *audit, unsigned timeout_ms)
{
    uint64_t at_ms = clock_now_ms() + timeout_ms;
    while (!is_drained(audit) && monotonic_wait(&audit->drained, &audit->lock, at_ms))
        ;
}

/* No thread but this one knows the client any more. */
static bool end_rest(struct audit_client *audit)
{
    struct audit_events rest = audit->waiting;
    bool drained = rest.count == 0;
    for (struct audit_event *e = rest.first; e != NULL; e = e->next)
        e->fate = AUDIT_FAILED;
    audit_settle(audit, &rest, TG_CANCELLED, "audit: the client was closed first");
    for (unsigned i = 0; i < audit->count; i++) {
        size_t owed = audit_replica_drop_rest(&audit->replicas[i]);
        if (owed > 0)
            LOG(LOG_WARNING, NULL, "audit.replica_incomplete", LOG_TEXT("peer", audit->replicas[i].name),
                LOG_NUMBER("missing", owed),
                LOG_TEXT("error", "stopped before it was caught up: the other audit services have them"));
    }
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
    stop_replicas(audit);
    bool drained = end_rest(audit);
    destroy(audit);
    return drained;
}

const char *audit_client_trouble(struct audit_client *audit)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < audit->count; i++)
        ready += rpc_client_ready(audit->replicas[i].rpc);
    if (ready < audit->must_ack)
        return audit->count == 1 ? "the audit service cannot be reached"
                                 : "fewer audit services can be reached than must hold every event";
    pthread_mutex_lock(&audit->lock);
    bool full = audit->waiting.count >= AUDIT_QUEUE_MAX;
    pthread_mutex_unlock(&audit->lock);
    return full ? "too many events wait for the audit service" : NULL;
}

uint64_t audit_client_lost(const struct audit_client *audit)
{
    return atomic_load(&audit->lost);
}

void audit_client_metrics(struct audit_client *audit, struct metrics *out)
{
    size_t owed[AUDIT_SERVICES_MAX] = {0};
    pthread_mutex_lock(&audit->lock);
    size_t waiting = audit->waiting.count;
    for (unsigned i = 0; i < audit->count; i++)
        owed[i] = audit->replicas[i].held;
    pthread_mutex_unlock(&audit->lock);
    metrics_one(out, METRIC_GAUGE, "ticketgate_audit_events_unsent", "Reported and not yet durable.",
                waiting);
    metrics_family(out, METRIC_GAUGE, "ticketgate_audit_events_owed",
                   "That one audit service has not acknowledged yet.");
    for (unsigned i = 0; i < audit->count; i++)
        metrics_value(out, owed[i], "peer", audit->replicas[i].name, NULL);
    metrics_one(out, METRIC_COUNTER, "ticketgate_audit_events_lost_total", "Must stay 0.",
                audit_client_lost(audit));
    metrics_one(out, METRIC_GAUGE, "ticketgate_audit_connected",
                "1: as many audit services as must hold every event can be reached.",
                audit_client_ready(audit));
}

/* ---- reporting ---- */

/* Under the lock: to all services or to none. */
static bool give_to_all(struct audit_client *audit, struct audit_event *event)
{
    for (unsigned i = 0; i < audit->count; i++) {
        if (audit_replica_take(&audit->replicas[i], event))
            continue;
        event->fate = AUDIT_FAILED;
        while (i-- > 0)
            audit_replica_purge(&audit->replicas[i]);
        return false;
    }
    return true;
}

/* Takes over the event, or lets go of it. */
static bool enqueue(struct audit_client *audit, struct audit_event *event, bool even_if_full)
{
    pthread_mutex_lock(&audit->lock);
    bool fits = (even_if_full || audit->waiting.count < AUDIT_QUEUE_MAX) && !audit->stopping &&
                give_to_all(audit, event);
    if (fits) {
        audit_events_append(&audit->waiting, event);
        audit_wake_keeper(audit, event->deadline_ms);
    } else {
        audit_event_release(event);
    }
    pthread_mutex_unlock(&audit->lock);
    if (fits)
        audit_pump(audit);
    return fits;
}

void audit_report(struct audit_client *audit, const Tg__Event *message, uint32_t budget_ms, audit_done *done,
                  void *arg)
{
    struct audit_event *event = audit_event_new(message, audit->service);
    if (event == NULL) {
        done(arg, TG_RESOURCE_EXHAUSTED, "audit: the event is too large, or memory is out");
        return;
    }
    event->done = done;
    event->arg = arg;
    event->deadline_ms = clock_now_ms() + budget_ms;
    if (!enqueue(audit, event, false))
        done(arg, TG_RESOURCE_EXHAUSTED, "audit: too many events wait to become durable");
}

bool audit_post(struct audit_client *audit, const Tg__Event *message)
{
    struct audit_event *event = audit_event_new(message, audit->service);
    return event != NULL && enqueue(audit, event, false);
}

void audit_post_last(struct audit_client *audit, const Tg__Event *message)
{
    struct audit_event *event = audit_event_new(message, audit->service);
    if (event == NULL || !enqueue(audit, event, true))
        lose(audit, message->event, TG_RESOURCE_EXHAUSTED, "too large, or memory is out");
}
