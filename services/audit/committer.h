/* Group commit: whoever reports events leaves them here and is told when they are durable. One thread writes
 * all that has come in since its last write, in one go, and answers all of them.
 *
 * When the disk fails, everybody is told UNAVAILABLE at once; when it hangs, after disk_timeout. In the
 * background it is tried again until it works, and the gap itself becomes an event (audit.recovered). */
#ifndef TG_AUDIT_COMMITTER_H
#define TG_AUDIT_COMMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"
#include "common/trace.h"
#include "services/audit/log/log_writer.h"

struct committer;

struct committer_options {
    struct log_writer *log; /* borrowed for the committer's life */
    const struct secret *ticket_key;
    size_t queue_events;      /* more that wait are refused */
    unsigned disk_timeout_ms; /* one write may take this long */
    unsigned retry_ms;        /* how often a failed disk is tried again */
    /* Called after events became durable, from the committer's thread; may be NULL. */
    void (*grown)(void *arg);
    void *grown_arg;
};

/* Exactly once, on a thread of the committer's or within committer_submit; must not block. UNAVAILABLE: these
 * events are not acknowledged, and may be sent again with the same request id without standing in the log
 * twice. */
typedef void commit_done(void *arg, enum tg_code status, const char *text, uint64_t first_sequence);

enum tg_code committer_open(struct committer **committer, const struct committer_options *options,
                            struct tg_error *err) TG_MUST_CHECK;
/* Starts its threads. */
enum tg_code committer_start(struct committer *committer, struct tg_error *err) TG_MUST_CHECK;
/* Writes what is queued, waiting up to timeout_ms for it; later submissions get UNAVAILABLE. */
void committer_drain(struct committer *committer, unsigned timeout_ms);
/* Answers what is left, joins the threads, frees. NULL is fine. False: the disk hangs, and with it the
 * writer, who still uses the log: then nothing is freed and the log must not be closed; the process is about
 * to end. */
bool committer_close(struct committer *committer);

/* Takes the bodies (each from malloc, see record.h), also on failure. A request id that was seen lately gets
 * the answer of the first time. Any thread. */
void committer_submit(struct committer *committer, const uint8_t request_id[REQUEST_ID_LEN],
                      const struct log_entry *entries, size_t count, commit_done *done, void *arg);

/* NULL, or why nothing can be made durable now; static. Any thread. */
const char *committer_trouble(const struct committer *committer);

#endif
