/* Where key material comes from, as a struct of functions (DESIGN.md 5). A source that runs dry says so; it
 * never gives a weaker key. */
#ifndef TG_KEY_STORE_SOURCE_H
#define TG_KEY_STORE_SOURCE_H

#include "common/error.h"
#include "common/secret.h"

struct source {
    const char *name; /* for messages and the audit log */
    /* Fills all of `out` with fresh bytes. RESOURCE_EXHAUSTED: dry; UNAVAILABLE. Any thread; it must not
     * block: a slow device keeps a stock of its own. */
    enum tg_code (*draw)(struct source *source, struct secret *out, struct tg_error *err);
    void (*close)(struct source *source);
};

/* OpenSSL's DRBG for private bytes (NIST SP 800-90A). Static; close is a formality. */
struct source *source_drbg(void);

#endif
