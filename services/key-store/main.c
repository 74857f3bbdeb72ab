#include "services/key-store/key-store.h"

static const struct service service = {
    .name = "key-store",
    .summary = "makes, holds and spends quantum keys",
    .example = "tg-key-store --config /etc/ticketgate/key-store.yaml",
    .rows = key_store_rows,
    .config_size = sizeof(struct key_store_config),
    .methods = key_store_methods,
    .open = key_store_open,
    .start = key_store_start,
    .reload = key_store_reload,
    .not_serving = key_store_not_serving,
    .metrics = key_store_metrics,
    .close = key_store_close,
};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
