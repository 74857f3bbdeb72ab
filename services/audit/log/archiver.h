/* The thread that keeps the log's retention (tlog_archive.h): at the start and every hour it moves what has
 * become old enough to the archive. An archive that is away or full is a warning in the service's own log,
 * and tried again an hour later; what must not be (a bundle that is not as signed, or differs from its copy)
 * also becomes an event. */
#ifndef TG_AUDIT_ARCHIVER_H
#define TG_AUDIT_ARCHIVER_H

#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/committer.h"
#include "services/audit/log/log_writer.h"

struct archiver_config {
    char *directory; /* NULL: off */
    int64_t after;   /* ms */
};
#define ARCHIVER_ROWS(prefix, type_, member)                                                                 \
    {.key = prefix "directory",                                                                              \
     .type = CONFIG_PATH,                                                                                    \
     .offset = offsetof(type_, member.directory),                                                            \
     .fallback = CONFIG_OPTIONAL,                                                                            \
     .help = "Move old entries to this directory, on another disk perhaps; off unless given. Keep it: it "   \
             "is the only place that has them then."},                                                       \
    {                                                                                                        \
        .key = prefix "after", .type = CONFIG_DURATION, .offset = offsetof(type_, member.after),             \
        .fallback = "180d", .min = INT64_C(86400000), .max = INT64_C(86400000) * 36500,                      \
        .help = "How old entries are at least before they are moved."                                        \
    }

struct archiver_options {
    struct log_writer *log; /* of tlog_open, with an archive; borrowed, as `arg` */
    uint64_t after_ms;
    /* Puts an event into the log; `done` exactly once. */
    void (*report)(void *arg, Tg__Event *event, commit_done *done, void *done_arg);
    void *arg;
};

struct archiver;

enum tg_code archiver_open(struct archiver **archiver, const struct archiver_options *options,
                           struct tg_error *err) TG_MUST_CHECK;
enum tg_code archiver_start(struct archiver *archiver, struct tg_error *err) TG_MUST_CHECK;
/* Asks the thread to end after the file under way. NULL is fine. */
void archiver_stop(struct archiver *archiver);
/* After the committer has answered everything: joins the thread and frees. NULL is fine. False: the archive
 * hangs, and with it the thread, who still uses the log: then nothing is freed; the process is about to end.
 */
bool archiver_close(struct archiver *archiver);

#endif
