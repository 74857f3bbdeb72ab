/* tg-gateway */
#include "services/gateway/gateway.h"

static enum tg_code open_service(const void *config, void **state, struct tg_error *err)
{
    struct gateway *gateway;
    TG_TRY(gateway_open(config, &gateway, err));
    *state = gateway;
    return TG_OK;
}

static enum tg_code start_service(void *state, struct tg_error *err)
{
    return gateway_start(state, err);
}

static void reload_service(void *state, const void *config)
{
    gateway_reload(state, config);
}

static const char *not_serving(void *state)
{
    return gateway_not_serving(state);
}

static void write_metrics(void *state, struct metrics *out)
{
    gateway_metrics(state, out);
}

static void drain_service(void *state, unsigned timeout_ms)
{
    gateway_drain(state, timeout_ms);
}

static void close_service(void *state)
{
    gateway_close(state);
}

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "gateway",
        .summary = "SSL VPN server: handshake with a quantum key, login over RADIUS, streams to the intranet",
        .example = "tg-gateway --config /etc/ticketgate/gateway.yaml",
        .rows = gateway_config_rows,
        .config_size = sizeof(struct gateway_config),
        .methods = gateway_methods,
        .open = open_service,
        .start = start_service,
        .reload = reload_service,
        .not_serving = not_serving,
        .metrics = write_metrics,
        .drain = drain_service,
        .close = close_service,
    };
    return service_main(&service, argc, argv);
}
