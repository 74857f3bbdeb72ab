/* Checks a whole log in a directory: every entry against its tile, every tile against the one above it, the
 * root against the signed checkpoint. Needs nothing but the files and the public keys; reads only.
 *
 * The oldest entries may have gone to an archive (tlog_archive.h). With its directory they are checked like
 * all others. Without it their hashes are, which never leave the log; and their going must have been
 * announced: by an event audit.archived, signed like all others, that is later than what it names. What is
 * missing beyond that, or behind an entry that is there, is lost. */
#ifndef TG_AUDIT_TLOG_CHECK_H
#define TG_AUDIT_TLOG_CHECK_H

#include "services/audit/log/checkpoint.h"

struct tlog_check {
    int directory;
    int archive; /* -1: none */
    const struct note_keys *keys;
    const char *older; /* a checkpoint that the log must continue; NULL: none */
    size_t older_len;
    bool (*go_on)(void *arg); /* asked now and then; NULL: always */
    void *arg;

    struct checkpoint checkpoint; /* what was found */
    uint64_t entries;             /* that are good; fewer than the checkpoint's after a failure */
    uint64_t archived;            /* of these, by their hashes only */
};

/* DATA_LOSS: the text names the first file that is not as it was written. UNAUTHENTICATED: signed by others.
 * CANCELLED: go_on said no. */
enum tg_code tlog_check(struct tlog_check *check, struct tg_error *err) TG_MUST_CHECK;

/* The file `checkpoint`; the caller's to free(). */
enum tg_code tlog_read_checkpoint(int directory, char **note, size_t *len,
                                  struct tg_error *err) TG_MUST_CHECK;

#endif
