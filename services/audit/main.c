#include "services/audit/audit.h"

static const struct service service = {
    .name = "audit",
    .summary = "keeps the durable, tamper-evident log of everything that matters",
    .example = "tg-audit --config /etc/ticketgate/audit.yaml",
    .rows = audit_config_rows,
    .config_size = sizeof(struct audit_config),
    .methods = audit_methods,
    .open = audit_open,
    .start = audit_start,
    .not_serving = audit_not_serving,
    .drain = audit_drain,
    .close = audit_close,
};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
