/* Questions to other services whose answers come back to the connection's own thread, if it is still there
 * and waiting. No handler ever runs on a thread of nng's, and no pointer to a connection crosses threads. */
#ifndef TG_GATEWAY_CALLS_H
#define TG_GATEWAY_CALLS_H

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/gateway/connection.h"

/* The answer. status OK: response is borrowed for the call (NULL for audit). Otherwise text says why. What it
 * returns other than OK refuses the client. Not called when the connection is closed or leaving by then. */
typedef enum tg_code call_answer(struct connection *c, enum tg_code status, const char *text,
                                 const ProtobufCMessage *response, struct tg_error *err);

void call_service(struct connection *c, struct rpc_client *client, const struct rpc_request *request,
                  call_answer *then);
/* Answered when the event is durable. */
void call_audit(struct connection *c, const Tg__Event *event, uint32_t budget_ms, call_answer *then);

/* The same about one stream of the session. */
typedef void stream_answer(struct connection *c, uint32_t stream, enum tg_code status, const char *text);
void call_audit_stream(struct connection *c, uint32_t stream, const Tg__Event *event, uint32_t budget_ms,
                       stream_answer *then);

#endif
