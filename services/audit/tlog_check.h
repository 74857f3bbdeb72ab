/* Checks a whole log in a directory: every entry against its tile, every tile against the one above it, the
 * root against the signed checkpoint. Needs nothing but the files and the public keys; reads only. */
#ifndef TG_AUDIT_TLOG_CHECK_H
#define TG_AUDIT_TLOG_CHECK_H

#include "services/audit/checkpoint.h"

struct tlog_check {
    int directory;
    const struct note_keys *keys;
    const char *older; /* a checkpoint that the log must continue; NULL: none */
    size_t older_len;
    bool (*go_on)(void *arg); /* asked now and then; NULL: always */
    void *arg;

    struct checkpoint checkpoint; /* what was found */
    uint64_t entries;             /* that are good; fewer than the checkpoint's after a failure */
};

/* DATA_LOSS: the text names the first file that is not as it was written. UNAUTHENTICATED: signed by others.
 * CANCELLED: go_on said no. */
enum tg_code tlog_check(struct tlog_check *check, struct tg_error *err) TG_MUST_CHECK;

/* The file `checkpoint`; the caller's to free(). */
enum tg_code tlog_read_checkpoint(int directory, char **note, size_t *len,
                                  struct tg_error *err) TG_MUST_CHECK;

#endif
