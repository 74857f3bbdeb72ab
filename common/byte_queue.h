/* Bytes that wait for a socket to take them: appended at the end, taken from the front. Grows on demand up to
 * a bound and gives its memory back when it has run empty, so that idle connections cost nothing. One thread
 * at a time. */
#ifndef TG_COMMON_BYTE_QUEUE_H
#define TG_COMMON_BYTE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_queue {
    uint8_t *bytes;
    size_t start, end, capacity;
    size_t max;
};

/* Nothing is allocated yet. max: how many bytes may wait at most. */
void byte_queue_init(struct byte_queue *queue, size_t max);
/* Frees; what still waits is lost. Zeroes are fine. */
void byte_queue_fini(struct byte_queue *queue);

static inline size_t byte_queue_len(const struct byte_queue *queue)
{
    return queue->end - queue->start;
}
/* The first waiting byte; valid until the queue is changed. */
static inline const uint8_t *byte_queue_front(const struct byte_queue *queue)
{
    return queue->bytes + queue->start;
}

/* False: over max, or memory is out; the queue is as before. */
bool byte_queue_append(struct byte_queue *queue, const void *bytes, size_t len);
/* Drops len bytes at the front; at most what waits: our own invariant. */
void byte_queue_take(struct byte_queue *queue, size_t len);

#endif
