/* The one thread that touches the store. Whatever has queued up is one transaction, so that callers share the
 * cost of making it durable. */
#ifndef TG_KEY_STORE_WRITER_H
#define TG_KEY_STORE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "services/key-store/store/store.h"

enum writer_limits {
    WRITER_BATCH_MAX = 256,
    WRITER_ATTEMPTS = 4,        /* at a transaction that is lost for a passing reason, */
    WRITER_PATIENCE_MS = 10000, /* the last of them begun by then */
    WRITER_TICK_MS = 1000
};

/* One item, embedded in what it is about. */
struct work {
    struct work *next;     /* the writer's, while queued */
    const uint8_t *key_id; /* the key it is going to ask for; NULL: none, or not known */
    struct tg_error result;
    /* In the transaction. A failure undoes this item alone, not its batch. May be called again when the
     * transaction was lost, and must then begin anew, and recognise what it did if it was not. On the
     * writer's thread. */
    enum tg_code (*apply)(struct work *work, struct store *store, struct tg_error *err);
    /* Once it is durable (OK), or with why nothing was changed: what apply said, or UNAVAILABLE or DATA_LOSS
     * when the batch could not be committed. Exactly once; on the writer's thread: it must not block. */
    void (*done)(struct work *work, enum tg_code status, const char *text);
};

struct writer;

/* Upkeep in bounded pieces, each second, in a transaction of its own; *more: again soon. */
struct writer_tick {
    enum tg_code (*apply)(void *arg, struct store *store, bool *more, struct tg_error *err);
    void *arg;
};

/* Starts the thread; store is borrowed. */
enum tg_code writer_start(struct store *store, const struct writer_tick *tick, struct writer **writer,
                          struct tg_error *err) TG_MUST_CHECK;
/* Finishes what is queued, then ends the thread. NULL is fine. */
void writer_stop(struct writer *writer);
/* Queues; borrowed until done. Never blocks; any thread. */
void writer_add(struct writer *writer, struct work *work);
/* Why the database cannot be written, as a static string, or NULL when it can. Clears by itself. Any thread.
 */
const char *writer_problem(const struct writer *writer);

#endif
