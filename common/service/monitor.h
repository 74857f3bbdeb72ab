/* The optional HTTP listener for monitoring, of every service: /metrics for Prometheus, /healthz (alive) and
 * /readyz (serving, with all it depends on). Plain: names and counts, no secrets; keep it off networks of
 * strangers all the same. Used by common/service only. */
#ifndef TG_COMMON_SERVICE_MONITOR_H
#define TG_COMMON_SERVICE_MONITOR_H

#include "common/service/service.h"

struct monitor;

/* Binds; address NULL: *monitor is NULL, and there is none. All is borrowed until monitor_close. After
 * health_open. Errors as http_server_open. */
enum tg_code monitor_open(struct monitor **monitor, const char *address, const struct service *service,
                          void *state, const struct rpc_server *server, struct tg_error *err) TG_MUST_CHECK;
/* Answers from now on. NULL is fine, as below. */
enum tg_code monitor_start(struct monitor *monitor, struct tg_error *err) TG_MUST_CHECK;
void monitor_close(struct monitor *monitor);

#endif
