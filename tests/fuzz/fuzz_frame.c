/* A stranger's bytes as frames, walked as client and gateway do. What decodes must encode to the same bytes.
 */
#include <string.h>

#include "common/protocol/frame.h"
#include "common/protocol/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t one_frame(const uint8_t *data, size_t size, size_t frame_max)
{
    struct frame_header header;
    uint8_t again[FRAME_HEADER_LEN];
    struct tg_error err;
    if (size < FRAME_HEADER_LEN || frame_decode(data, frame_max, &header, &err) != TG_OK)
        return 0;
    frame_encode(&header, again);
    TG_INVARIANT(memcmp(data, again, sizeof again) == 0);
    TG_INVARIANT(FRAME_HEADER_LEN + (size_t)header.length <= frame_max);
    TG_INVARIANT(strcmp(frame_name(header.type), "unknown") != 0);
    return FRAME_HEADER_LEN + header.length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum order_state state = ORDER_HELLO;
    while (size > 0) {
        size_t used = one_frame(data, size, state == ORDER_SESSION ? FRAME_MAX : FRAME_MAX_BEFORE_LOGIN);
        if (used == 0 || used > size)
            break;
        const struct order_row *row = order_find(state, ORDER_CLIENT, data[0]);
        if (row == NULL)
            row = order_find(state, ORDER_GATEWAY, data[0]);
        if (row != NULL)
            state = row->next;
        TG_INVARIANT(state <= ORDER_CLOSED);
        data += used;
        size -= used;
    }
    return 0;
}
