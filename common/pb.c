#include "common/pb.h"

#include <openssl/crypto.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

enum { ARENA_FACTOR = 16, ARENA_BASE = 4096, ARENA_ALIGN = alignof(max_align_t) };

/* One block for a message and all it holds: nothing is given back before the whole is wiped. */
struct arena {
    size_t size;
    size_t used;
    alignas(max_align_t) uint8_t bytes[];
};

static void *arena_take(void *data, size_t size)
{
    struct arena *arena = data;
    if (size > arena->size - arena->used)
        return NULL;
    void *out = arena->bytes + arena->used;
    size_t rounded = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    arena->used = rounded < arena->size - arena->used ? arena->used + rounded : arena->size;
    return out;
}

static void arena_give_back(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

static void arena_free(struct arena *arena)
{
    OPENSSL_cleanse(arena->bytes, arena->used);
    free(arena);
}

ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len)
{
    if (len > (SIZE_MAX - ARENA_BASE - sizeof(struct arena)) / ARENA_FACTOR)
        return NULL;
    size_t size = ARENA_FACTOR * len + ARENA_BASE;
    struct arena *arena = malloc(sizeof *arena + size);
    if (arena == NULL)
        return NULL;
    arena->size = size;
    arena->used = 0;
    ProtobufCAllocator allocator = {.alloc = arena_take, .free = arena_give_back, .allocator_data = arena};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, bytes);
    if (message == NULL) {
        arena_free(arena);
        return NULL;
    }
    /* protobuf-c allocates the message before anything in it: pb_free finds the arena by that. */
    TG_INVARIANT((const void *)message == (const void *)arena->bytes);
    return message;
}

void pb_free(ProtobufCMessage *message)
{
    if (message != NULL)
        arena_free((struct arena *)(void *)((uint8_t *)message - offsetof(struct arena, bytes)));
}

void pb_cleanup(ProtobufCMessage **message)
{
    pb_free(*message);
    *message = NULL;
}

uint8_t *pb_pack(const ProtobufCMessage *message, size_t *len)
{
    *len = protobuf_c_message_get_packed_size(message);
    uint8_t *buffer = malloc(*len + 1); /* an empty message is a buffer too */
    if (buffer != NULL)
        protobuf_c_message_pack(message, buffer);
    return buffer;
}

void pb_buffer_free(uint8_t *buffer, size_t len)
{
    if (buffer != NULL)
        OPENSSL_cleanse(buffer, len);
    free(buffer);
}
