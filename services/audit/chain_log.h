/* The hash-chained log in numbered segments (chain_line.h, chain_file.h). Durable means: written and
 * fdatasync'ed.
 *
 * A batch that could not be written, or not be synced, is truncated away before anything else is appended.
 * What is found torn at the end of the log when it is opened was never acknowledged: it is moved aside, into
 * a file beside the segment. A chain that is broken anywhere else stops the start: the log is evidence,
 * nothing of it is overwritten.
 *
 * At the start the last segment is checked whole, of the others only the first and the last line: verify
 * checks all. Marks (sequence → offset) are kept in memory, at least 64 lines apart: 16 bytes for each mark.
 */
#ifndef TG_AUDIT_CHAIN_LOG_H
#define TG_AUDIT_CHAIN_LOG_H

#include <pthread.h>

#include "services/audit/chain_file.h"
#include "services/audit/log_writer.h"

struct chain_options {
    const char *directory;     /* must exist */
    off_t segment_size;        /* a new segment is begun when the last has this many bytes */
    const struct chain_io *io; /* NULL: the system's */
};

/* FAILED_PRECONDITION: another process has it, or the directory is not usable. DATA_LOSS: broken, the text
 * says where and what to do. */
enum tg_code chain_log_open(struct log_writer **log, const struct chain_options *options,
                            struct tg_error *err) TG_MUST_CHECK;

/* ---- between chain_log.c, chain_recover.c and chain_read.c ---- */

struct chain_mark {
    uint64_t sequence;
    off_t offset;
};

struct chain_segment {
    uint64_t first;
    bool marked; /* marks cover the whole segment; the last segment's always do */
    struct chain_mark *marks;
    size_t mark_count;
};

struct chain_log {
    struct log_writer writer;
    char *directory;
    off_t segment_size;
    const struct chain_io *io;
    int lock_fd;

    /* Of the appending thread. */
    int fd; /* the last segment */
    struct chain_head head;
    bool suspect; /* the file may hold more than durable_len */
    char *buffer;
    size_t buffer_size;

    pthread_mutex_t lock; /* guards the rest */
    struct chain_segment *segments;
    size_t count;
    uint64_t next;
    off_t durable_len; /* of the last segment */
};

/* Finds the segments, checks them, cuts a torn end. Leaves fd, head, segments, next and durable_len set. */
enum tg_code chain_recover(struct chain_log *log, struct tg_error *err) TG_MUST_CHECK;

/* Adds a segment; the log's lock is held, or nobody else has the log yet. RESOURCE_EXHAUSTED. */
enum tg_code chain_add_segment(struct chain_log *log, uint64_t first, struct tg_error *err) TG_MUST_CHECK;
/* Remembers where a line starts, if the last mark is far enough away. Without memory reading is slower, no
 * more. */
void chain_add_mark(struct chain_segment *segment, uint64_t sequence, off_t offset);

enum tg_code chain_read(struct log_writer *writer, uint64_t from, log_visit *visit, void *arg,
                        struct tg_error *err);
enum tg_code chain_verify(struct log_writer *writer, bool (*go_on)(void *arg), void *arg, uint64_t *entries,
                          struct tg_error *err);

#endif
