/* The log as the rest of the service sees it: append a batch durably, read, verify. chain_log.h is the
 * implementation with hash-chained files; a Merkle log takes its place behind the same functions.
 *
 * append is for one thread at a time; everything else may run beside it, on any thread. */
#ifndef TG_AUDIT_LOG_WRITER_H
#define TG_AUDIT_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct log_writer;

/* One entry is the line {"metadata":{"sequence":N, and then `body`: more members of the metadata object, its
 * end, all other members, and the brace that ends the line. Borrowed during append. */
struct log_entry {
    char *body;
    size_t len;
};

/* One stored line, without its line feed; borrowed. False: that was enough. */
typedef bool log_visit(void *arg, uint64_t sequence, const char *line, size_t len);

struct log_writer_ops {
    /* All of it durable on TG_OK, in this order, from sequence *first on; otherwise none of it ever shows.
     * RESOURCE_EXHAUSTED: no room. UNAVAILABLE: the disk failed. Either may be tried again with the next
     * call. */
    enum tg_code (*append)(struct log_writer *log, const struct log_entry *entries, size_t count,
                           uint64_t *first, struct tg_error *err);
    /* The sequence that the next entry will get; smaller ones are durable. The first entry has 1. */
    uint64_t (*next)(struct log_writer *log);
    /* Visits durable lines from sequence `from` on, in order. DATA_LOSS: a file cannot be read as it was
     * written. */
    enum tg_code (*read)(struct log_writer *log, uint64_t from, log_visit *visit, void *arg,
                         struct tg_error *err);
    /* Checks all that was durable when it started; *entries counts what is good. DATA_LOSS: the text names
     * the first bad line. CANCELLED: `go_on` answered false, as it is asked now and then. */
    enum tg_code (*verify)(struct log_writer *log, bool (*go_on)(void *arg), void *arg, uint64_t *entries,
                           struct tg_error *err);
    void (*close)(struct log_writer *log);
};

struct log_writer {
    const struct log_writer_ops *ops;
};

#endif
