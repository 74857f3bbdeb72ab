#include "common/service/health.h"

#include <stdatomic.h>
#include <string.h>

#include "common/pb.h"
#include "common/trace.h"
#include "proto/health.pb-c.h"

/* The one service that this process is. Set before the listeners serve, so that handlers may read it freely.
 */
static struct {
    const struct service *service;
    void *state;
    uint64_t opened_ms;
    atomic_bool draining;
} health;

void health_open(const struct service *service, void *state)
{
    health.service = service;
    health.state = state;
    health.opened_ms = clock_now_ms();
    atomic_store(&health.draining, false);
}

void health_close(void)
{
    health.service = NULL;
    health.state = NULL;
}

void health_drain(void)
{
    atomic_store(&health.draining, true);
}

const char *health_problem(void)
{
    if (atomic_load(&health.draining))
        return "the service is shutting down";
    return health.service->not_serving == NULL ? NULL : health.service->not_serving(health.state);
}

uint64_t health_uptime_s(void)
{
    return (clock_now_ms() - health.opened_ms) / 1000;
}

void health_check(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__HealthCheckRequest *request = (const void *)message;
    Tg__HealthCheckResponse response = TG__HEALTH_CHECK_RESPONSE__INIT;
    response.version = pb_string(TG_VERSION);
    response.uptime_s = health_uptime_s();
    response.status = TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    if (request->service[0] == '\0' || strcmp(request->service, health.service->name) == 0) {
        const char *reason = health_problem();
        response.reason = pb_string(reason);
        response.status = reason == NULL ? TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                                         : TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
    }
    rpc_reply(call, &response.base);
}
