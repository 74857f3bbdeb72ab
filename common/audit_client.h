/* How services report to the audit service: events are queued (bounded), sent in batches, and acknowledged
 * when they are durable there. Fail closed: who must not go on without the event waits for `done`.
 *
 * There may be several audit services, each with a log of its own (replicas). Every event goes to all of them
 * and counts as durable when `must_ack` have acknowledged it. One that is slow or away is caught up from a
 * queue of its own; what does not fit that any more is missing in its log alone, and the event
 * audit.replica_behind says so in the others. */
#ifndef TG_COMMON_AUDIT_CLIENT_H
#define TG_COMMON_AUDIT_CLIENT_H

#include "common/error.h"
#include "common/rpc/rpc.h"
#include "proto/audit.pb-c.h"

enum audit_client_limits {
    AUDIT_SERVICES_MAX = 8,
    /* How long whoever lets somebody in, or gives a key out, waits until that is durable: with the audit
     * log's disk full, hung or gone, logins are refused within 2 s. */
    AUDIT_BUDGET_MS = 1500
};

struct audit_client;

/* The audit services as a service's configuration names them: AUDIT_SERVICES_ROWS. */
struct audit_replica_config {
    struct config_list endpoints;
};
struct audit_services {
    struct rpc_peer first;       /* its certificate, key and CA are used for the others, too */
    struct config_list replicas; /* struct audit_replica_config: the others */
    int64_t must_ack;
};
extern const struct config_row audit_replica_rows[];

/* `audit: {endpoints: [..], certificate, key, ca, replicas: [{endpoints: [..]}], must_ack: 2}` in the member
 * `struct audit_services audit` of a service's configuration. */
#define AUDIT_SERVICES_ROWS(type_, member)                                                                   \
    RPC_PEER_ROWS("audit.", type_, member.first),                                                            \
        {.key = "audit.replicas",                                                                            \
         .type = CONFIG_TABLES,                                                                              \
         .offset = offsetof(type_, member.replicas),                                                         \
         .fallback = CONFIG_OPTIONAL,                                                                        \
         .max = AUDIT_SERVICES_MAX - 1,                                                                      \
         .item_rows = audit_replica_rows,                                                                    \
         .item_size = sizeof(struct audit_replica_config),                                                   \
         .help = "Further audit services, each with a log of its own: every event goes to all"},             \
    {                                                                                                        \
        .key = "audit.must_ack", .type = CONFIG_INT, .offset = offsetof(type_, member.must_ack),             \
        .fallback = "1", .min = 1, .max = AUDIT_SERVICES_MAX,                                                \
        .help = "How many audit services must hold an event durably before it counts"                        \
    }

/* status OK: durable. Otherwise text says why not. On any thread: it must not block. */
typedef void audit_done(void *arg, enum tg_code status, const char *text);

/* `service` ("gateway") goes into every event. All is copied. INVALID_ARGUMENT: more acknowledgements wanted
 * than there are services; or as rpc_client_open. */
enum tg_code audit_client_open(struct audit_client **audit, const char *service,
                               const struct audit_services *services, struct tg_error *err) TG_MUST_CHECK;
/* Waits up to timeout_ms for what is queued, then closes. True: nothing was left. NULL is fine. */
bool audit_client_close(struct audit_client *audit, unsigned timeout_ms);

/* NULL, or why events cannot become durable now: fewer services than must acknowledge can be reached, or the
 * queue is full. Static; for readiness, and for refusing before anything is begun. Any thread. */
const char *audit_client_trouble(struct audit_client *audit);
static inline bool audit_client_ready(struct audit_client *audit)
{
    return audit_client_trouble(audit) == NULL;
}

/* Queues a copy of the event; id, service, and time_us if 0, are filled in. `done` is called exactly once:
 * when the event is durable, or when it is not after budget_ms: DEADLINE_EXCEEDED, or why it failed; it is
 * then not sent any more. Queue full, or event over 16 KiB: RESOURCE_EXHAUSTED. Any thread. */
void audit_report(struct audit_client *audit, const Tg__Event *event, uint32_t budget_ms, audit_done *done,
                  void *arg) __attribute__((nonnull(4)));

/* For an event that nobody waits for: it is tried again until it is durable. False: the queue is full, and
 * the event is not in it; the caller must not go on as if it were (the gateway ends the session). Any thread.
 */
bool audit_post(struct audit_client *audit, const Tg__Event *event) TG_MUST_CHECK;
/* The last event of something that was begun while there was no trouble, such as a session: it is taken even
 * when the queue is full, so that the queue is longer by as many as can be under way at most. Any thread. */
void audit_post_last(struct audit_client *audit, const Tg__Event *event);

/* Events that could be neither made durable nor reported as failed to anybody; each is in the service's own
 * log (audit.lost). Must stay 0. */
uint64_t audit_client_lost(const struct audit_client *audit);

/* Events that wait, those lost, and whether the audit service can be reached. Any thread. */
void audit_client_metrics(struct audit_client *audit, struct metrics *out);

#endif
