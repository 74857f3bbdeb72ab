/* A source that must be waited for, made into one that need not: a thread fills a bounded stock in locked
 * memory, from which keys are drawn at once or not at all. */
#ifndef TG_KEY_STORE_SOURCE_STOCK_H
#define TG_KEY_STORE_SOURCE_STOCK_H

#include "services/key-store/source/source.h"

enum source_stock_limits {
    SOURCE_FETCH_MAX = 4096,     /* bytes, at once */
    SOURCE_STOCK_MIN = 8 * 1024, /* bytes */
    SOURCE_STOCK_MAX = 65504,    /* bytes: what one secret holds, without wasting locked memory */
    SOURCE_RETRY_MS = 1000       /* between two attempts at a source that gives nothing */
};

/* What has to be waited for. fetch runs on the stock's thread alone. */
struct source_fetch {
    const char *name; /* as struct source has it; static */
    void *arg;
    /* Puts 1 to secret_len(out) fresh bytes (SOURCE_FETCH_MAX) at the front of `out`, and how many into *len.
     * May block, but not for ever: soon after `interrupt` it must return with any failure. Failures are tried
     * again each second; DATA_LOSS is for good: what comes from there can be trusted no more (a health test
     * failed), and what has been fetched is thrown away. The text says what to do. */
    enum tg_code (*fetch)(void *arg, struct secret *out, size_t *len, struct tg_error *err);
    /* Another thread wants fetch to return. From then on it is not called again. */
    void (*interrupt)(void *arg);
    void (*close)(void *arg);
};

enum source_event { SOURCE_LOW, SOURCE_RECOVERED, SOURCE_FAILED };
/* `status`: as it is at this moment. On any thread; it must not block, nor draw. */
typedef void source_on_event(void *arg, enum source_event event, const struct source_status *status);

struct source_stock_options {
    size_t capacity;  /* bytes, SOURCE_STOCK_MIN to SOURCE_STOCK_MAX */
    size_t low_water; /* bytes, at most half of capacity. SOURCE_LOW once below it (or when nothing came
                         before it was reached); SOURCE_RECOVERED once twice as much is there */
    source_on_event *on_event; /* may be NULL */
    void *arg;
};

/* Takes `fetch` over (closes it on failure too). Nothing is fetched before start(). RESOURCE_EXHAUSTED:
 * locked memory. */
enum tg_code source_stock_open(const struct source_fetch *fetch, const struct source_stock_options *options,
                               struct source **source, struct tg_error *err) TG_MUST_CHECK;

#endif
