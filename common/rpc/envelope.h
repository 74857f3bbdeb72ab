/* What travels inside an nng message: proto/rpc.proto, packed and taken apart, both directions side by side.
 */
#ifndef TG_COMMON_RPC_ENVELOPE_H
#define TG_COMMON_RPC_ENVELOPE_H

#include <nng/nng.h>

#include "common/rpc/rpc.h"

enum envelope_limits {
    RPC_METHOD_NAME_MAX = 128,
    RPC_TEXT_MAX = 512,
    RPC_ENVELOPE_MAX = RPC_MESSAGE_MAX - 64 /* leaves room for nng's own headers */
};

/* One row of a server's table, with what its service's descriptor says about the method. */
struct rpc_route {
    char name[RPC_METHOD_NAME_MAX]; /* "tg.KeyStore/Spend" */
    const struct rpc_method *method;
    const ProtobufCMessageDescriptor *input;
    const ProtobufCMessageDescriptor *output;
};

/* "tg.KeyStore/Spend" and its message types. INTERNAL: the service has no such method. */
enum tg_code rpc_route_find(const ProtobufCServiceDescriptor *service, const char *name,
                            struct rpc_route *out, struct tg_error *err) TG_MUST_CHECK;

/* A request as a server reads it. */
struct rpc_incoming {
    const struct rpc_route *route;
    ProtobufCMessage *request; /* owned: pb_free */
    uint8_t request_id[REQUEST_ID_LEN];
    char trace[TRACE_HEX_LEN + 1];
    uint32_t budget_ms;
};
/* Any failure is the answer to send. `role` is one of enum rpc_role. */
enum tg_code rpc_request_decode(const struct rpc_route *routes, size_t count, enum rpc_role role,
                                const uint8_t *bytes, size_t len, struct rpc_incoming *out,
                                struct tg_error *err) TG_MUST_CHECK;
/* NULL when memory is out or the envelope would be larger than RPC_ENVELOPE_MAX. Owned by the caller. */
nng_msg *rpc_request_encode(const char *method, const uint8_t request_id[REQUEST_ID_LEN], const char *trace,
                            uint32_t budget_ms, const uint8_t *payload, size_t payload_len);

/* An answer as a client reads it. */
struct rpc_answer {
    enum tg_code status;
    char text[RPC_TEXT_MAX];
    ProtobufCMessage *response; /* owned; NULL unless status is OK */
};
/* DATA_LOSS: not an answer, or not one of `output`. */
enum tg_code rpc_answer_decode(const ProtobufCMessageDescriptor *output, const uint8_t *bytes, size_t len,
                               struct rpc_answer *out, struct tg_error *err) TG_MUST_CHECK;
/* `response` may be NULL. NULL as above. */
nng_msg *rpc_answer_encode(enum tg_code status, const char *text, const ProtobufCMessage *response);

/* Wipes the body, which may hold a password or a sealed key, and frees; NULL is fine. Not for messages that
 * nng has taken. */
void rpc_message_free(nng_msg *message);

#endif
