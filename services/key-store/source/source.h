/* Where key material comes from, as a struct of functions (DESIGN.md 5). A source that runs dry says so; it
 * never gives a weaker key. */
#ifndef TG_KEY_STORE_SOURCE_H
#define TG_KEY_STORE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

/* How a source is, for operators. Amounts are bytes. */
struct source_status {
    uint64_t stock, capacity, low_water; /* all 0: it needs no stock and never runs dry */
    uint64_t fetched, drawn;             /* since the start */
    uint64_t rate;                       /* fetched a second, lately, while it was asked */
    bool low;                            /* the stock is under its low-water mark */
    bool failed;                         /* for good: a health test failed; only a new start helps */
    char problem[256];                   /* why it gives nothing now; "": it does */
};

struct source {
    const char *name; /* for messages and the audit log */
    /* Starts its thread, if it has one; after the process has been locked down. NULL: nothing to start. */
    enum tg_code (*start)(struct source *source, struct tg_error *err);
    /* Fills all of `out` with fresh bytes. RESOURCE_EXHAUSTED: dry; UNAVAILABLE. Any thread; it must not
     * block: a slow device keeps a stock of its own (source_stock.h). */
    enum tg_code (*draw)(struct source *source, struct secret *out, struct tg_error *err);
    void (*status)(struct source *source, struct source_status *out); /* any thread */
    void (*close)(struct source *source);
};

/* OpenSSL's DRBG for private bytes (NIST SP 800-90A). Static; close is a formality. */
struct source *source_drbg(void);

#endif
