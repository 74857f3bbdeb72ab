/* The log as the rest of the service sees it: append a batch durably, read, prove, verify. tlog.h is the
 * implementation, a Merkle tree in tiles.
 *
 * append is for one thread at a time; everything else may run beside it, on any thread. */
#ifndef TG_AUDIT_LOG_WRITER_H
#define TG_AUDIT_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "services/audit/log/note.h"
#include "services/audit/log/tile.h"

struct log_writer;

/* One entry is the line {"metadata":{"sequence":N, and then `body`: more members of the metadata object, its
 * end, all other members, and the brace that ends the line. Borrowed during append. */
struct log_entry {
    char *body;
    size_t len;
};

/* One stored line; borrowed. False: that was enough. */
typedef bool log_visit(void *arg, uint64_t sequence, const char *line, size_t len);

/* What verify has found. */
struct log_verdict {
    uint64_t entries; /* that are good */
    uint64_t
        archived; /* of these, only by their hashes: the entries themselves lie in an archive that is away */
};

struct log_writer_ops {
    /* All of it durable on TG_OK, in this order, from sequence *first on; otherwise none of it ever shows.
     * RESOURCE_EXHAUSTED: no room. UNAVAILABLE: the disk failed. Either may be tried again with the next
     * call. */
    enum tg_code (*append)(struct log_writer *log, const struct log_entry *entries, size_t count,
                           uint64_t *first, struct tg_error *err);
    /* The sequence that the next entry will get; smaller ones are durable. The first entry has 0. */
    uint64_t (*next)(struct log_writer *log);
    /* Visits durable lines from sequence `from` on, in order. DATA_LOSS: a file cannot be read as it was
     * written. UNAVAILABLE: the disk fails, or they lie in an archive that is away; the text says which. */
    enum tg_code (*read)(struct log_writer *log, uint64_t from, log_visit *visit, void *arg,
                         struct tg_error *err);
    /* Checks all that was durable when it started, once a checkpoint covers that, and (unless NULL) that the
     * log continues an older checkpoint, a signed note. DATA_LOSS: the text
     * names the first bad file. CANCELLED: `go_on` answered false, as it is asked now and then. */
    enum tg_code (*verify)(struct log_writer *log, const char *older, bool (*go_on)(void *arg), void *arg,
                           struct log_verdict *verdict, struct tg_error *err);

    /* Starts what runs in the background; before that nothing gets into tiles. */
    enum tg_code (*start)(struct log_writer *log, struct tg_error *err);
    /* The newest checkpoint, as published; the caller's to free(). */
    enum tg_code (*checkpoint)(struct log_writer *log, char **note, struct tg_error *err);
    /* Proves one entry (checkpoint.h); the caller's to free(). Waits up to wait_ms until a checkpoint covers
     * it. NOT_FOUND: there is no such entry. UNAVAILABLE: no checkpoint covers it yet. */
    enum tg_code (*receipt)(struct log_writer *log, uint64_t sequence, unsigned wait_ms, char **text,
                            struct tg_error *err);
    /* What one of the files holds that the newest checkpoint covers. NOT_FOUND: it covers none such. */
    enum tg_code (*tile)(struct log_writer *log, const struct tile *tile, struct tile_bytes *bytes,
                         struct tg_error *err);
    /* That a tree of the newest checkpoint's size begins with the one of `old`; *size is that size. */
    enum tg_code (*consistency)(struct log_writer *log, uint64_t old, uint64_t *size,
                                struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                                struct tg_error *err);
    /* The keys that it signs with; borrowed. */
    const struct note_keys *(*keys)(struct log_writer *log);
    void (*close)(struct log_writer *log);
};

struct log_writer {
    const struct log_writer_ops *ops;
};

#endif
