/* Where a device's or file's bytes are read from, as they come. */
#ifndef TG_KEY_STORE_NOISE_H
#define TG_KEY_STORE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct noise {
    const char *path; /* borrowed */
    unsigned timeout_ms;
    int fd;   /* -1: to be opened at the next read */
    int wake; /* eventfd: a read under way is to end */
    bool is_file;
};

enum tg_code noise_init(struct noise *noise, const char *path, unsigned timeout_ms,
                        struct tg_error *err) TG_MUST_CHECK;
void noise_fini(struct noise *noise);
/* Ends a read under way, and all later ones. Any thread. */
void noise_interrupt(struct noise *noise);

/* Up to `room` bytes, at least one; waits for them at most timeout_ms. *fresh: they are the first since the
 * path was opened (again: after every failure). From a character device or FIFO they come in order; from a
 * file they are taken off its end, and off the disk, before they are used: no restart reads them again.
 * RESOURCE_EXHAUSTED: at its end; CANCELLED: interrupted; UNAVAILABLE, NOT_FOUND, PERMISSION_DENIED. */
enum tg_code noise_read(struct noise *noise, uint8_t *out, size_t room, size_t *len, bool *fresh,
                        struct tg_error *err) TG_MUST_CHECK;

#endif
