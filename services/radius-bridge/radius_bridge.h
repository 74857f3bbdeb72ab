/* tg-radius-bridge: the intranet's authentication (steps 11 and 12). Handlers check a request and leave it
 * with the pool, which asks the bank's RADIUS servers through radcli. */
#ifndef TG_RADIUS_BRIDGE_H
#define TG_RADIUS_BRIDGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/audit_client.h"
#include "common/rpc/rpc.h"
#include "common/service/service.h"
#include "services/radius-bridge/pool.h"

struct bridge_config {
    struct service_config service;
    struct config_list servers; /* struct radius_server_config */
    bool allow_insecure_udp;
    int64_t workers;
    int64_t queue;
    int64_t response_timeout; /* ms */
    int64_t connect_timeout;  /* ms */
    int64_t dead_time;        /* ms */
    struct audit_services audit;
};
extern const struct config_row bridge_config_rows[];

struct bridge {
    struct pool *pool;
    struct audit_client *audit;
    atomic_uint_fast64_t left_out; /* changes of servers that could not be reported yet */
};

/* The functions of struct service; see common/service/service.h. The configuration is borrowed until
 * bridge_close. */
enum tg_code bridge_open(const void *config, void **state, struct tg_error *err);
enum tg_code bridge_start(void *state, struct tg_error *err);
const char *bridge_not_serving(void *state);
void bridge_metrics(void *state, struct metrics *out);
void bridge_close(void *state);

extern const struct rpc_method bridge_methods[];

#endif
