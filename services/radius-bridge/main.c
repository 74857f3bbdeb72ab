#include "services/radius-bridge/radius_bridge.h"

static const struct service service = {
    .name = "radius-bridge",
    .summary = "asks the bank's RADIUS servers whether a user may come in",
    .example = "tg-radius-bridge --config /etc/ticketgate/radius-bridge.yaml",
    .rows = bridge_config_rows,
    .config_size = sizeof(struct bridge_config),
    .methods = bridge_methods,
    .open = bridge_open,
    .start = bridge_start,
    .not_serving = bridge_not_serving,
    .metrics = bridge_metrics,
    .close = bridge_close,
};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
