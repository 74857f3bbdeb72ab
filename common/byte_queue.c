#include "common/byte_queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

enum { SMALLEST = 512 };

void byte_queue_init(struct byte_queue *queue, size_t max)
{
    *queue = (struct byte_queue){.max = max};
}

void byte_queue_fini(struct byte_queue *queue)
{
    free(queue->bytes);
    *queue = (struct byte_queue){.max = queue->max};
}

/* Room for len more at the end: by moving what waits to the start, or with a larger buffer. */
static bool make_room(struct byte_queue *queue, size_t len)
{
    size_t waiting = byte_queue_len(queue);
    if (queue->capacity - queue->end >= len)
        return true;
    /* Moving pays only when at least half is free: then each byte is moved once per byte taken, on average.
     */
    if (queue->start >= queue->capacity / 2 && queue->capacity - waiting >= len) {
        memmove(queue->bytes, queue->bytes + queue->start, waiting);
        queue->start = 0;
        queue->end = waiting;
        return true;
    }
    size_t capacity = queue->capacity < SMALLEST ? SMALLEST : queue->capacity;
    while (capacity < waiting + len)
        capacity *= 2;
    uint8_t *bytes = malloc(capacity);
    if (bytes == NULL)
        return false;
    if (waiting > 0)
        memcpy(bytes, queue->bytes + queue->start, waiting);
    free(queue->bytes);
    *queue = (struct byte_queue){.bytes = bytes, .end = waiting, .capacity = capacity, .max = queue->max};
    return true;
}

bool byte_queue_append(struct byte_queue *queue, const void *bytes, size_t len)
{
    if (len > queue->max - byte_queue_len(queue) || !make_room(queue, len))
        return false;
    if (len > 0)
        memcpy(queue->bytes + queue->end, bytes, len);
    queue->end += len;
    return true;
}

void byte_queue_take(struct byte_queue *queue, size_t len)
{
    TG_INVARIANT(len <= byte_queue_len(queue));
    queue->start += len;
    if (queue->start == queue->end)
        byte_queue_fini(queue);
}
