#include "common/rpc/envelope.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "proto/rpc.pb-c.h"

enum tg_code rpc_route_find(const ProtobufCServiceDescriptor *service, const char *name,
                            struct rpc_route *out, struct tg_error *err)
{
    const ProtobufCMethodDescriptor *found = protobuf_c_service_descriptor_get_method_by_name(service, name);
    TG_ENSURE(found != NULL, err, TG_INTERNAL, "%s has no method %s", service->name, name);
    int len = snprintf(out->name, sizeof out->name, "%s/%s", service->name, name);
    TG_INVARIANT(len > 0 && (size_t)len < sizeof out->name);
    out->method = NULL;
    out->input = found->input;
    out->output = found->output;
    return TG_OK;
}

static const struct rpc_route *find_route(const struct rpc_route *routes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(routes[i].name, name) == 0)
            return &routes[i];
    return NULL;
}

static enum tg_code check_ids(const Tg__RpcRequest *envelope, struct rpc_incoming *out, struct tg_error *err)
{
    TG_ENSURE(envelope->request_id.len == REQUEST_ID_LEN, err, TG_INVALID_ARGUMENT,
              "the request id must have %d bytes", REQUEST_ID_LEN);
    size_t len = strlen(envelope->trace_id);
    TG_ENSURE(len == 0 || (len == TRACE_HEX_LEN && strspn(envelope->trace_id, "0123456789abcdef") == len),
              err, TG_INVALID_ARGUMENT, "the trace id must have %d hex digits", TRACE_HEX_LEN);
    memcpy(out->request_id, envelope->request_id.data, REQUEST_ID_LEN);
    memcpy(out->trace, envelope->trace_id, len);
    out->budget_ms = envelope->budget_ms < RPC_BUDGET_MAX_MS ? envelope->budget_ms : RPC_BUDGET_MAX_MS;
    return TG_OK;
}

static enum tg_code open_envelope(const struct rpc_route *routes, size_t count, enum rpc_role role,
                                  const Tg__RpcRequest *envelope, struct rpc_incoming *out,
                                  struct tg_error *err)
{
    TG_TRY(check_ids(envelope, out, err));
    out->route = find_route(routes, count, envelope->method);
    TG_ENSURE(out->route != NULL, err, TG_UNIMPLEMENTED, "there is no method %.128s", envelope->method);
    TG_ENSURE((out->route->method->roles & role) != 0, err, TG_PERMISSION_DENIED,
              "%s is not for callers of this listener", out->route->name);
    out->request = pb_unpack(out->route->input, envelope->payload.data, envelope->payload.len);
    TG_ENSURE(out->request != NULL, err, TG_INVALID_ARGUMENT, "the request of %s is malformed",
              out->route->name);
    TG_ENSURE(out->budget_ms > 0, err, TG_DEADLINE_EXCEEDED, "%s came too late", out->route->name);
    return TG_OK;
}

enum tg_code rpc_request_decode(const struct rpc_route *routes, size_t count, enum rpc_role role,
                                const uint8_t *bytes, size_t len, struct rpc_incoming *out,
                                struct tg_error *err)
{
    *out = (struct rpc_incoming){0};
    TG_ENSURE(len <= RPC_MESSAGE_MAX, err, TG_INVALID_ARGUMENT, "the request is too large");
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *envelope = pb_unpack(&tg__rpc_request__descriptor, bytes, len);
    TG_ENSURE(envelope != NULL, err, TG_INVALID_ARGUMENT, "the request is not an RPC envelope");
    enum tg_code code =
        open_envelope(routes, count, role, (const Tg__RpcRequest *)(const void *)envelope, out, err);
    if (code != TG_OK) {
        pb_free(out->request);
        out->request = NULL;
    }
    return code;
}

static nng_msg *pack_message(const ProtobufCMessage *envelope)
{
    nng_msg *message = NULL;
    size_t size = protobuf_c_message_get_packed_size(envelope);
    if (size > RPC_ENVELOPE_MAX || nng_msg_alloc(&message, size) != 0)
        return NULL;
    protobuf_c_message_pack(envelope, nng_msg_body(message));
    return message;
}

nng_msg *rpc_request_encode(const char *method, const uint8_t request_id[REQUEST_ID_LEN], const char *trace,
                            uint32_t budget_ms, const uint8_t *payload, size_t payload_len)
{
    Tg__RpcRequest envelope = TG__RPC_REQUEST__INIT;
    envelope.method = pb_string(method);
    envelope.request_id = pb_bytes(request_id, REQUEST_ID_LEN);
    envelope.budget_ms = budget_ms;
    envelope.trace_id = pb_string(trace);
    envelope.payload = pb_bytes(payload, payload_len);
    return pack_message(&envelope.base);
}

enum tg_code rpc_answer_decode(const ProtobufCMessageDescriptor *output, const uint8_t *bytes, size_t len,
                               struct rpc_answer *out, struct tg_error *err)
{
    *out = (struct rpc_answer){.status = TG_DATA_LOSS};
    TG_ENSURE(len <= RPC_MESSAGE_MAX, err, TG_DATA_LOSS, "the answer is too large");
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = pb_unpack(&tg__rpc_response__descriptor, bytes, len);
    const Tg__RpcResponse *envelope = (const void *)unpacked;
    TG_ENSURE(envelope != NULL && envelope->status < TG_CODE_COUNT, err, TG_DATA_LOSS,
              "the answer is not an RPC envelope");
    out->status = (enum tg_code)envelope->status;
    snprintf(out->text, sizeof out->text, "%s", envelope->message);
    if (out->status != TG_OK)
        return TG_OK;
    out->response = pb_unpack(output, envelope->payload.data, envelope->payload.len);
    TG_ENSURE(out->response != NULL, err, TG_DATA_LOSS, "the answer is not a well-formed %s", output->name);
    return TG_OK;
}

nng_msg *rpc_answer_encode(enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    Tg__RpcResponse envelope = TG__RPC_RESPONSE__INIT;
    size_t len = 0;
    uint8_t *payload = NULL;
    if (response != NULL) {
        payload = pb_pack(response, &len);
        if (payload == NULL)
            return NULL;
    }
    envelope.status = status;
    envelope.message = pb_string(text);
    envelope.payload = pb_bytes(payload, len);
    nng_msg *message = pack_message(&envelope.base);
    pb_buffer_free(payload, len);
    return message;
}

void rpc_message_free(nng_msg *message)
{
    if (message == NULL)
        return;
    OPENSSL_cleanse(nng_msg_body(message), nng_msg_len(message));
    nng_msg_free(message);
}
