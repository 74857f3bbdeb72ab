#include "common/config.h"

#include "tools/tgctl/tgctl.h"

#define ENDPOINTS(name, place)                                                                               \
    {                                                                                                        \
        .key = "services." name, .type = CONFIG_STRINGS,                                                     \
        .offset = offsetof(struct tgctl_config, endpoints) + (place) * sizeof(struct config_list), .min = 1, \
        .max = 16, .help = "operator listeners of this service: tls+tcp://host:port or ipc:///path"          \
    }

const struct config_row tgctl_config_rows[] = {
    {.key = "certificate",
     .type = CONFIG_PATH,
     .offset = offsetof(struct tgctl_config, tls.certificate),
     .fallback = CONFIG_OPTIONAL,
     .help = "the operator's certificate (PEM); needed for tls+tcp://"},
    {.key = "key",
     .type = CONFIG_PATH,
     .offset = offsetof(struct tgctl_config, tls.key),
     .fallback = CONFIG_OPTIONAL,
     .help = "its private key (PEM)"},
    {.key = "ca",
     .type = CONFIG_PATH,
     .offset = offsetof(struct tgctl_config, tls.ca),
     .fallback = CONFIG_OPTIONAL,
     .help = "who signs the services' certificates (PEM)"},
    {.key = "timeout",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct tgctl_config, timeout),
     .fallback = "5s",
     .min = 100,
     .max = RPC_BUDGET_MAX_MS,
     .help = "how long a command waits for a service"},
    ENDPOINTS("gateway", SERVICE_GATEWAY),
    ENDPOINTS("ticket_resolver", SERVICE_RESOLVER),
    ENDPOINTS("key_store", SERVICE_KEY_STORE),
    ENDPOINTS("radius_bridge", SERVICE_BRIDGE),
    ENDPOINTS("audit", SERVICE_AUDIT),
    {.key = NULL},
};
