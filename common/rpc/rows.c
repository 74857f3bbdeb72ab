/* Roles, listeners and peers as they stand in configuration files. */
#include "common/rpc/rpc.h"

const char *const rpc_role_names[] = {"gateway", "resolver", "charger", "operator", "service", NULL};

#define TLS_ROW(key_, help_)                                                                                 \
    {                                                                                                        \
        .key = #key_, .type = CONFIG_PATH, .offset = offsetof(struct rpc_listener, tls.key_),                \
        .fallback = CONFIG_OPTIONAL, .help = help_                                                           \
    }

const struct config_row rpc_listener_rows[] = {
    {.key = "address",
     .type = CONFIG_STRING,
     .offset = offsetof(struct rpc_listener, address),
     .min = 1,
     .max = 256,
     .help = "Where to listen: tls+tcp://host:port or ipc:///path"},
    {.key = "role",
     .type = CONFIG_CHOICE,
     .offset = offsetof(struct rpc_listener, role),
     .choices = rpc_role_names,
     .help = "Who calls here; only methods for this role are served"},
    TLS_ROW(certificate, "The service's own certificate (PEM); not used for ipc://"),
    TLS_ROW(key, "Its private key (PEM, mode 0400)"),
    TLS_ROW(ca, "The CA that signs the certificates of this role's callers (PEM)"),
    {.key = NULL},
};
