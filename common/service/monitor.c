#include "common/service/monitor.h"

#include <stdlib.h>

#include "common/http/http.h"
#include "common/log.h"
#include "common/metrics/metrics.h"
#include "common/secret.h"
#include "common/service/health.h"

struct monitor {
    struct http_server *http;
    const struct service *service;
    void *state;
    const struct rpc_server *server;
};

static void write_common(const struct monitor *monitor, struct metrics *out)
{
    metrics_family(out, METRIC_GAUGE, "ticketgate_info", "Which service this is; always 1.");
    metrics_value(out, 1, "service", monitor->service->name, "version", TG_VERSION, NULL);
    metrics_one(out, METRIC_GAUGE, "ticketgate_uptime_seconds", "Since the service was started.",
                health_uptime_s());
    metrics_one(out, METRIC_GAUGE, "ticketgate_serving", "1: it can serve, with all it depends on.",
                health_problem() == NULL);
    metrics_one(out, METRIC_GAUGE, "ticketgate_locked_memory_bytes", "Memory for secrets in use.",
                secret_heap_used());
    rpc_server_metrics(monitor->server, out);
}

static void get_metrics(struct http_request *request)
{
    const struct monitor *monitor = http_request_context(request);
    struct metrics *metrics = metrics_new();
    size_t len = 0;
    char *text = NULL;
    if (metrics != NULL) {
        write_common(monitor, metrics);
        if (monitor->service->metrics != NULL)
            monitor->service->metrics(monitor->state, metrics);
        text = metrics_finish(metrics, &len);
    }
    if (text == NULL)
        http_reply_text(request, 500, "out of memory");
    else
        http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", text, len, free, text);
}

static void get_healthz(struct http_request *request)
{
    http_reply_text(request, 200, "alive");
}

static void get_readyz(struct http_request *request)
{
    const char *problem = health_problem();
    if (problem == NULL)
        http_reply_text(request, 200, "ready");
    else
        http_reply_text(request, 503, "not ready: %s", problem);
}

enum tg_code monitor_open(struct monitor **out, const char *address, const struct service *service,
                          void *state, const struct rpc_server *server, struct tg_error *err)
{
    static const struct http_route routes[] = {
        {HTTP_READ, "/metrics", get_metrics},
        {HTTP_READ, "/healthz", get_healthz},
        {HTTP_READ, "/readyz", get_readyz},
        {.path = NULL},
    };
    *out = NULL;
    if (address == NULL)
        return TG_OK;
    struct monitor *monitor = calloc(1, sizeof *monitor);
    TG_ENSURE(monitor != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the monitoring listener");
    *monitor = (struct monitor){.service = service, .state = state, .server = server};
    const struct http_options options = {.address = address, .routes = routes, .context = monitor};
    enum tg_code code = http_server_open(&monitor->http, &options, err);
    if (code == TG_OK)
        *out = monitor;
    else
        free(monitor);
    return code;
}

enum tg_code monitor_start(struct monitor *monitor, struct tg_error *err)
{
    if (monitor == NULL)
        return TG_OK;
    TG_TRY(http_server_start(monitor->http, err));
    LOG(LOG_INFO, NULL, "monitor.listening", LOG_NUMBER("port", http_server_port(monitor->http)));
    return TG_OK;
}

void monitor_close(struct monitor *monitor)
{
    if (monitor == NULL)
        return;
    http_server_stop(monitor->http, 0);
    free(monitor);
}
