/* Control payloads of either end: the first byte chooses the frame type, the rest is the payload. What
 * unpacks can be packed; sealed parts are given to suite_open as the gateway does. */
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/protocol/frame.h"
#include "common/protocol/suite.h"
#include "proto/client.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    [FRAME_HELLO] = &tg__hello__descriptor,
    [FRAME_IDENTITY] = &tg__identity__descriptor,
    [FRAME_AUTHENTICATE] = &tg__authenticate__descriptor,
    [FRAME_AUTHENTICATED] = &tg__authenticated__descriptor,
    [FRAME_LOGIN] = &tg__login__descriptor,
    [FRAME_CHALLENGE] = &tg__challenge__descriptor,
    [FRAME_ANSWER] = &tg__answer__descriptor,
    [FRAME_WELCOME] = &tg__welcome__descriptor,
    [FRAME_REFUSED] = &tg__refused__descriptor,
    [10] = &tg__login_info__descriptor, /* no frame: what LOGIN seals */
    [FRAME_OPEN] = &tg__open__descriptor,
    [FRAME_OPENED] = &tg__opened__descriptor,
    [FRAME_WINDOW] = &tg__window__descriptor,
    [FRAME_CLOSE] = &tg__close__descriptor,
    [FRAME_PING] = &tg__ping__descriptor,
    [FRAME_PONG] = &tg__ping__descriptor,
    [FRAME_BYE] = &tg__bye__descriptor,
};
enum { TYPES = sizeof types / sizeof types[0] };

static void try_to_open(const ProtobufCBinaryData *sealed)
{
    static struct secret *key;
    if (key == NULL)
        key = secret_new(SUITE_KEY_LEN);
    for (unsigned number = 1; number <= 2; number++) {
        struct secret *plain = NULL;
        struct tg_error err;
        if (suite_open(suite_find(number), key, 0, "aad", 3, sealed->data, sealed->len, &plain, &err) ==
            TG_OK)
            secret_free(plain);
        else
            TG_INVARIANT(plain == NULL);
    }
}

/* Not unpacked again: protobuf-c keeps an unknown field number 0 that came in an overlong varint, and writes
 * it short, as which it does not take it back. */
static void pack_again(const ProtobufCMessage *message)
{
    size_t len = 0;
    uint8_t *bytes = pb_pack(message, &len);
    TG_INVARIANT(bytes != NULL);
    pb_buffer_free(bytes, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size - 1 > FRAME_PAYLOAD_MAX || data[0] >= TYPES || types[data[0]] == NULL)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0]];
    ProtobufCMessage *message = pb_unpack(type, data + 1, size - 1);
    if (message == NULL)
        return 0;
    pack_again(message);
    if (data[0] == FRAME_LOGIN && ((const Tg__Login *)message)->info_case == TG__LOGIN__INFO_SEALED)
        try_to_open(&((const Tg__Login *)message)->sealed);
    if (data[0] == FRAME_ANSWER && ((const Tg__Answer *)message)->info_case == TG__ANSWER__INFO_SEALED)
        try_to_open(&((const Tg__Answer *)message)->sealed);
    if (data[0] == FRAME_AUTHENTICATE)
        try_to_open(&((const Tg__Authenticate *)message)->encrypted_random);
    pb_free(message);
    return 0;
}
