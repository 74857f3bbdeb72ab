/* How services report to the audit service: events are queued (bounded), sent in batches, and acknowledged
 * when they are durable there. Fail closed: who must not go on without the event waits for `done`. */
#ifndef TG_COMMON_AUDIT_CLIENT_H
#define TG_COMMON_AUDIT_CLIENT_H

#include "common/error.h"
#include "common/rpc/rpc.h"
#include "proto/audit.pb-c.h"

struct audit_client;

/* status OK: durable. Otherwise text says why not. On any thread: it must not block. */
typedef void audit_done(void *arg, enum tg_code status, const char *text);

/* `service` ("gateway") goes into every event; copied. `peer` as for rpc_client_open. */
enum tg_code audit_client_open(struct audit_client **audit, const char *service, const struct rpc_peer *peer,
                               struct tg_error *err) TG_MUST_CHECK;
/* Waits up to timeout_ms for what is queued, then closes. True: nothing was left. NULL is fine. */
bool audit_client_close(struct audit_client *audit, unsigned timeout_ms);
bool audit_client_ready(const struct audit_client *audit);

/* Queues a copy of the event; service, and time_us if 0, are filled in. `done` is called exactly once: when
 * the event is durable, or when it is not after budget_ms: DEADLINE_EXCEEDED, or why it failed; it is then
 * not sent any more. Without a `done` a failure is logged and counted, and the event is tried again until it
 * is durable. Queue full, or event over 16 KiB: RESOURCE_EXHAUSTED. Any thread. */
void audit_report(struct audit_client *audit, const Tg__Event *event, uint32_t budget_ms, audit_done *done,
                  void *arg);

/* Events that could be neither acknowledged nor reported as failed to a `done`; must stay 0. */
uint64_t audit_client_lost(const struct audit_client *audit);

/* Events that wait, those lost, and whether the audit service can be reached. Any thread. */
void audit_client_metrics(struct audit_client *audit, struct metrics *out);

#endif
