#include "client/login/handshake.h"

#include <string.h>

#include "common/pb.h"

static enum tg_code send_packed(struct handshake *h, enum frame_type type, const uint8_t *payload, size_t len,
                                struct tg_error *err)
{
    uint8_t bytes[FRAME_MAX_BEFORE_LOGIN];
    TG_ENSURE(len <= sizeof bytes - FRAME_HEADER_LEN, err, TG_INVALID_ARGUMENT,
              "%s would be longer than the protocol allows: user name or password is too long",
              frame_name(type));
    frame_encode(&(struct frame_header){.type = (uint8_t)type, .length = (uint32_t)len}, bytes);
    if (len > 0)
        memcpy(bytes + FRAME_HEADER_LEN, payload, len);
    if (h->state <= ORDER_AUTHENTICATED)
        transcript_add(h->transcript, bytes, FRAME_HEADER_LEN + len);
    enum tg_code code = wire_write(&h->wire, bytes, FRAME_HEADER_LEN + len, err);
    secret_wipe(bytes, sizeof bytes);
    return code;
}

enum tg_code handshake_send(struct handshake *h, enum frame_type type, const ProtobufCMessage *message,
                            struct tg_error *err)
{
    size_t len = 0;
    uint8_t *payload = pb_pack(message, &len);
    TG_ENSURE(payload != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    enum tg_code code = send_packed(h, type, payload, len, err);
    pb_buffer_free(payload, len);
    return code;
}

ProtobufCMessage *handshake_unpack(const struct wire_frame *frame, const ProtobufCMessageDescriptor *type,
                                   struct tg_error *err)
{
    ProtobufCMessage *message = pb_unpack(type, wire_payload(frame), frame->header.length);
    if (message == NULL)
        tg_fail(err, TG_INVALID_ARGUMENT, "the gateway sent a malformed %s", frame_name(frame->header.type));
    return message;
}
