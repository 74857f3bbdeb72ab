/* A hardware generator (a quantum RNG) as a source of keys: a character device, a FIFO that a driver writes
 * to, or a file of bytes made elsewhere. */
#ifndef TG_KEY_STORE_SOURCE_DEVICE_H
#define TG_KEY_STORE_SOURCE_DEVICE_H

#include "services/key-store/source/source_stock.h"

struct source_device_options {
    const char *path;     /* copied */
    unsigned min_entropy; /* of one raw byte, in thousandths of a bit: health_tests.h */
    bool conditioned; /* what comes is full entropy already (min_entropy 8000): tested, then used as it is */
    unsigned timeout_ms; /* how long it may be silent */
};

/* For source_stock_open; the path is opened by the first fetch, and again after a failure. Raw bytes pass the
 * health tests; 256-bit keys are then SHA-256 over so many of them that their min-entropy is at least 256 +
 * 64 bits (SP 800-90B 3.1.5.1: a vetted component; SP 800-90C: 64 more make its output full entropy). */
enum tg_code source_device_open(const struct source_device_options *options, struct source_fetch *out,
                                struct tg_error *err) TG_MUST_CHECK;

#endif
