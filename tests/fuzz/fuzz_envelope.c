/* The RPC envelope as a server reads a caller's request, and as a caller reads an answer. The first byte says
 * which of the two, and in which role the caller is. */
#include <string.h>

#include "common/pb.h"
#include "common/rpc/envelope.h"
#include "proto/key_store.pb-c.h"
#include "proto/radius_bridge.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void handle(struct rpc_call *call, const ProtobufCMessage *request)
{
    (void)call;
    (void)request;
}

static const struct rpc_method methods[] = {
    {&tg__key_store__descriptor, "Spend", RPC_ROLE_RESOLVER, handle},
    {&tg__key_store__descriptor, "Fill", RPC_ROLE_CHARGER, handle},
    {&tg__radius_bridge__descriptor, "Login", RPC_ROLE_ANY, handle},
};
enum { METHODS = sizeof methods / sizeof methods[0], ROLES = 5 };

static void as_request(enum rpc_role role, const uint8_t *bytes, size_t len)
{
    static struct rpc_route routes[METHODS];
    struct tg_error err;
    for (size_t i = 0; i < METHODS; i++) {
        TG_INVARIANT(rpc_route_find(methods[i].service, methods[i].name, &routes[i], &err) == TG_OK);
        routes[i].method = &methods[i];
    }
    struct rpc_incoming in = {0};
    if (rpc_request_decode(routes, METHODS, role, bytes, len, &in, &err) != TG_OK)
        return;
    TG_INVARIANT((in.route->method->roles & role) != 0);
    TG_INVARIANT(in.request->descriptor == in.route->input);
    TG_INVARIANT(memchr(in.trace, '\0', sizeof in.trace) != NULL);
    pb_free(in.request);
}

static void as_answer(const uint8_t *bytes, size_t len)
{
    struct rpc_answer answer = {0};
    struct tg_error err;
    if (rpc_answer_decode(&tg__spend_response__descriptor, bytes, len, &answer, &err) != TG_OK)
        return;
    TG_INVARIANT((answer.response != NULL) == (answer.status == TG_OK));
    pb_free(answer.response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] < ROLES)
        as_request((enum rpc_role)(1 << data[0]), data + 1, size - 1);
    else
        as_answer(data + 1, size - 1);
    return 0;
}
