/* What operators ask the gateway (tgctl session list, kill). Each question visits every worker's thread in
 * turn, since sessions belong to those; the last one answers the call. */
#ifndef TG_GATEWAY_ADMIN_H
#define TG_GATEWAY_ADMIN_H

#include "common/rpc/rpc.h"

rpc_handler admin_session_list;
rpc_handler admin_session_kill;

#endif
