/* Retention: moves the oldest entries, in whole bundles, from the log to its archive directory. Tiles and
 * checkpoints stay, so that everything that was proved stays proved.
 *
 * In this order, so that a bundle is in at least one of the two places wherever it is killed, and the next
 * run goes on:
 *  1. each is compared with the tile of its hashes, written to the archive under its own name, and made
 *     durable there;
 *  2. the log announces that they go (audit.archived), and a checkpoint covers that: a verifier can tell them
 *     from lost ones;
 *  3. each is read back from the archive, compared again, and only then taken off the log, the oldest first.
 * What is in both places and the same is left from a run that did not get further. What differs stops it, and
 * nothing is touched. */
#ifndef TG_AUDIT_TLOG_ARCHIVE_H
#define TG_AUDIT_TLOG_ARCHIVE_H

#include "services/audit/log/tlog.h"

struct tlog_archiving {
    uint64_t before_ms;  /* Unix time; only bundles all of whose entries are older */
    uint64_t bundle_max; /* not more at once */
    /* Appends the announcement of first to last, durably; *sequence is its own. */
    enum tg_code (*announce)(void *arg, uint64_t first, uint64_t last, uint64_t *sequence,
                             struct tg_error *err);
    bool (*go_on)(void *arg); /* asked between two files */
    void *arg;

    uint64_t first; /* what was moved: sequences from here … */
    uint64_t count; /* … so many */
    bool more;      /* there was more than bundle_max */
};

/* A log of tlog_open with an archive. Beside everything else, but one at a time. DATA_LOSS: a bundle is not
 * as signed, or another than in the archive. UNAVAILABLE, RESOURCE_EXHAUSTED: the archive is away, read-only
 * or full. CANCELLED: go_on said no. */
enum tg_code tlog_archive(struct log_writer *log, struct tlog_archiving *archiving,
                          struct tg_error *err) TG_MUST_CHECK;

#endif
