#include "ticket-resolver.h"

static const struct service service = {
    .name = "ticket-resolver",
    .summary = "checks key tickets and has the key store answer them",
    .example = "tg-ticket-resolver --config /etc/ticketgate/ticket-resolver.yaml",
    .rows = ticket_resolver_rows,
    .config_size = sizeof(struct ticket_resolver_config),
    .methods = ticket_resolver_methods,
    .open = ticket_resolver_open,
    .start = ticket_resolver_start,
    .not_serving = ticket_resolver_not_serving,
    .metrics = ticket_resolver_metrics,
    .close = ticket_resolver_close,
};

int main(int argc, char **argv)
{
    return service_main(&service, argc, argv);
}
