#include "proto/ticket_resolver.pb-c.h"
#include "ticket-resolver.h"

const struct rpc_method ticket_resolver_methods[] = {
    {&tg__ticket_resolver__descriptor, "Resolve", RPC_ROLE_GATEWAY, handle_resolve},
    {.name = NULL},
};
