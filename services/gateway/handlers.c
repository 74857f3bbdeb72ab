/* The admin side: who may call what, and its handler (admin.c). */
#include "proto/gateway.pb-c.h"
#include "services/gateway/admin.h"
#include "services/gateway/gateway.h"

const struct rpc_method gateway_methods[] = {
    {&tg__gateway__descriptor, "SessionList", RPC_ROLE_OPERATOR, admin_session_list},
    {&tg__gateway__descriptor, "SessionKill", RPC_ROLE_OPERATOR, admin_session_kill},
    {NULL, NULL, 0, NULL},
};
