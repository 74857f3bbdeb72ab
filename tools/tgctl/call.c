#include <stdio.h>

#include "common/log.h"
#include "tools/tgctl/tgctl.h"

const char *const tgctl_service_names[SERVICES] = {"gateway", "ticket-resolver", "key-store", "radius-bridge",
                                                   "audit"};

enum tg_code tgctl_open(const struct tgctl *ctl, enum tgctl_service service, struct rpc_client **client,
                        struct tg_error *err)
{
    struct rpc_peer peer = {.endpoints = ctl->config.endpoints[service], .tls = ctl->config.tls};

    return rpc_client_open(client, tgctl_service_names[service], &peer, err);
}

enum tg_code tgctl_call(const struct tgctl *ctl, enum tgctl_service service,
                        const ProtobufCServiceDescriptor *descriptor, const char *method,
                        const ProtobufCMessage *request, ProtobufCMessage **response, struct tg_error *err)
{
    struct rpc_client *client;
    struct rpc_request call = {
        .service = descriptor,
        .method = method,
        .message = request,
        .budget_ms = (uint32_t)ctl->config.timeout,
    };
    enum tg_code code;

    TG_TRY(tgctl_open(ctl, service, &client, err));
    code = rpc_call_wait(client, &call, response, err);
    rpc_client_close(client);
    return code;
}

enum tgctl_exit tgctl_failed(const struct tg_error *err)
{
    fprintf(stderr, "tgctl: %s\n", err->text);
    if (err->code == TG_UNAVAILABLE || err->code == TG_DEADLINE_EXCEEDED || err->code == TG_UNKNOWN)
        return EXIT_UNREACHABLE;
    return EXIT_NO;
}
