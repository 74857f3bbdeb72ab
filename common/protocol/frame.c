#include "common/protocol/frame.h"

#include <stdbool.h>

enum { LENGTH_MAX = 0xffffff };

static const char *const names[] = {
    [FRAME_HELLO] = "HELLO",
    [FRAME_IDENTITY] = "IDENTITY",
    [FRAME_AUTHENTICATE] = "AUTHENTICATE",
    [FRAME_AUTHENTICATED] = "AUTHENTICATED",
    [FRAME_LOGIN] = "LOGIN",
    [FRAME_CHALLENGE] = "CHALLENGE",
    [FRAME_ANSWER] = "ANSWER",
    [FRAME_WELCOME] = "WELCOME",
    [FRAME_REFUSED] = "REFUSED",
    [FRAME_OPEN] = "OPEN",
    [FRAME_OPENED] = "OPENED",
    [FRAME_DATA] = "DATA",
    [FRAME_WINDOW] = "WINDOW",
    [FRAME_CLOSE] = "CLOSE",
    [FRAME_PING] = "PING",
    [FRAME_PONG] = "PONG",
    [FRAME_BYE] = "BYE",
    [FRAME_RESUME] = "RESUME",
};

enum { NAME_COUNT = sizeof names / sizeof names[0] };

static bool is_known(unsigned type)
{
    return type < NAME_COUNT && names[type] != NULL;
}

const char *frame_name(unsigned type)
{
    return is_known(type) ? names[type] : "unknown";
}

static bool has_stream(unsigned type)
{
    return type >= FRAME_OPEN && type <= FRAME_CLOSE;
}

void frame_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_LEN])
{
    TG_INVARIANT(header->length <= LENGTH_MAX);
    out[0] = header->type;
    out[1] = (uint8_t)(header->length >> 16);
    out[2] = (uint8_t)(header->length >> 8);
    out[3] = (uint8_t)header->length;
    out[4] = (uint8_t)(header->stream >> 24);
    out[5] = (uint8_t)(header->stream >> 16);
    out[6] = (uint8_t)(header->stream >> 8);
    out[7] = (uint8_t)header->stream;
}

enum tg_code frame_decode(const uint8_t in[FRAME_HEADER_LEN], size_t frame_max, struct frame_header *header,
                          struct tg_error *err)
{
    struct frame_header h = {
        .type = in[0],
        .length = (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3],
        .stream = (uint32_t)in[4] << 24 | (uint32_t)in[5] << 16 | (uint32_t)in[6] << 8 | in[7],
    };
    TG_ENSURE(is_known(h.type), err, TG_INVALID_ARGUMENT, "frame type %u is unknown", h.type);
    TG_ENSURE(h.length + FRAME_HEADER_LEN <= frame_max, err, TG_INVALID_ARGUMENT,
              "%s frame of %u bytes is over the limit of %zu", names[h.type], h.length + FRAME_HEADER_LEN,
              frame_max);
    TG_ENSURE(has_stream(h.type) == (h.stream != 0), err, TG_INVALID_ARGUMENT, "%s frame %s stream number",
              names[h.type], h.stream != 0 ? "must not have a" : "needs a");
    *header = h;
    return TG_OK;
}
