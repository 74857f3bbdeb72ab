/* The Health service (proto/health.proto) that common/service adds to every service. */
#ifndef TG_COMMON_SERVICE_HEALTH_H
#define TG_COMMON_SERVICE_HEALTH_H

#include "common/service/service.h"

/* Names the service whose health is asked for; `service` and `state` are borrowed until health_close, which
 * no call may be under way for. */
void health_open(const struct service *service, void *state);
void health_close(void);

/* Why the service cannot serve now, or NULL when it can. Any thread. */
const char *health_problem(void);
uint64_t health_uptime_s(void);

/* From now on: NOT_SERVING. Any thread. */
void health_drain(void);

/* The handler of Check. A call's context is the service's own state, hence the process-wide one here. */
void health_check(struct rpc_call *call, const ProtobufCMessage *request);

#endif
