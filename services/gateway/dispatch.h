/* From bytes to handlers: cuts frames, checks each against the legal order (common/protocol/order.h), and
 * calls the one handler of its type. */
#ifndef TG_GATEWAY_DISPATCH_H
#define TG_GATEWAY_DISPATCH_H

#include <protobuf-c/protobuf-c.h>

#include "common/error.h"
#include "common/protocol/frame.h"
#include "services/gateway/connection.h"

struct message {
    struct frame_header header;
    const uint8_t *frame;   /* header and payload, for the transcript; valid during the call */
    const uint8_t *payload; /* header.length bytes */
};

/* The connection is in the state that follows the message (order.h) already. Failing refuses the client:
 * refuse.h. */
typedef enum tg_code client_message_handler(struct connection *c, const struct message *message,
                                            struct tg_error *err) TG_MUST_CHECK;

/* Reads from the client as long as there is something, up to a bound for each turn, and handles it. */
void dispatch_read(struct connection *c);

/* A control frame's payload. INVALID_ARGUMENT: malformed. *out is the caller's: pb_free. */
enum tg_code dispatch_unpack(const struct message *message, const ProtobufCMessageDescriptor *type,
                             ProtobufCMessage **out, struct tg_error *err) TG_MUST_CHECK;

/* Stops the process unless each message that a client may send has its handler: called once, at the start. */
void dispatch_check_table(void);

#endif
