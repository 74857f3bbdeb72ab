#include "services/key-store/key-store.h"

#define SERVICE &tg__key_store__descriptor

const struct rpc_method key_store_methods[] = {
    {SERVICE, "Spend", RPC_ROLE_RESOLVER, handle_spend},
    {SERVICE, "Fill", RPC_ROLE_CHARGER, handle_fill},
    {SERVICE, "ConfirmFill", RPC_ROLE_CHARGER, handle_confirm},
    {SERVICE, "QkudAdd", RPC_ROLE_OPERATOR, handle_qkud_add},
    {SERVICE, "QkudList", RPC_ROLE_OPERATOR, handle_qkud_list},
    {SERVICE, "QkudRevoke", RPC_ROLE_OPERATOR, handle_qkud_revoke},
    {SERVICE, "ShieldAdd", RPC_ROLE_OPERATOR, handle_shield_add},
    {SERVICE, "ShieldList", RPC_ROLE_OPERATOR, handle_shield_list},
    {SERVICE, "ShieldRevoke", RPC_ROLE_OPERATOR, handle_shield_revoke},
    {SERVICE, "KeyList", RPC_ROLE_OPERATOR, handle_key_list},
    {SERVICE, "KeyFind", RPC_ROLE_OPERATOR, handle_key_find},
    {SERVICE, "KeyRevoke", RPC_ROLE_OPERATOR, handle_key_revoke},
    {SERVICE, "KekList", RPC_ROLE_OPERATOR, handle_kek_list},
    {SERVICE, "KekRotate", RPC_ROLE_OPERATOR, handle_kek_rotate},
    {SERVICE, "SourceStatus", RPC_ROLE_OPERATOR, handle_source_status},
    {.name = NULL},
};
