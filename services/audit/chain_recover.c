/* What is done with a log when it is opened: find its segments, check them, cut what a crash left torn. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/trace.h"
#include "services/audit/chain_log.h"

static const char advice[] = "it was altered or the disk damaged it. Nothing was changed: keep this "
                             "directory as evidence, then restore it from "
                             "a copy or configure a new one";

/* A line's own account of itself, of the first or the last line of a segment. */
struct edge {
    bool found;
    uint64_t sequence;
    uint8_t prev[CHAIN_HASH_LEN];
    uint8_t hash[CHAIN_HASH_LEN];
};

static bool see_first(void *arg, off_t offset, const char *line, size_t len)
{
    struct edge *edge = arg;
    (void)offset;
    edge->found = chain_line_decode(line, len, &edge->sequence, edge->prev);
    return false;
}

static bool see_last(void *arg, off_t offset, const char *line, size_t len)
{
    struct edge *edge = arg;
    (void)offset;
    /* The first of them may be the end of a line that starts further up. */
    edge->found = chain_line_decode(line, len, &edge->sequence, edge->prev);
    if (edge->found)
        chain_hash(line, len, edge->hash);
    return true;
}

/* Of a segment that is not the last: it must continue what came before, and end with a whole line. */
static enum tg_code check_edges(const struct chain_log *log, uint64_t first, struct chain_head *head,
                                struct tg_error *err)
{
    int fd = -1;
    off_t len = 0;
    TG_TRY(chain_file_open(log->directory, first, &fd, &len, err));
    struct edge start = {0};
    struct edge end = {0};
    off_t from = 0;
    const off_t reach = 2 * (off_t)CHAIN_LINE_MAX; /* so far back that a whole line is in it */
    off_t to = len > reach ? len - reach : 0;
    enum tg_code code = chain_file_lines(fd, &from, len, see_first, &start, err);
    if (code == TG_OK)
        code = chain_file_lines(fd, &to, len, see_last, &end, err);
    close(fd);
    TG_TRY(code);
    TG_ENSURE(start.found && start.sequence == first && memcmp(start.prev, head->prev, CHAIN_HASH_LEN) == 0,
              err, TG_DATA_LOSS, "the audit log is broken where segment %" PRIu64 " begins: %s", first,
              advice);
    TG_ENSURE(end.found && to == len, err, TG_DATA_LOSS,
              "the audit log is broken where segment %" PRIu64 " ends: %s", first, advice);
    head->next = end.sequence + 1;
    memcpy(head->prev, end.hash, CHAIN_HASH_LEN);
    return TG_OK;
}

struct scan {
    struct chain_segment *segment;
    struct chain_head head;
};

static bool scan_line(void *arg, off_t offset, const char *line, size_t len)
{
    struct scan *scan = arg;
    uint64_t sequence = scan->head.next;
    if (!chain_line_follows(&scan->head, line, len))
        return false;
    chain_add_mark(scan->segment, sequence, offset);
    return true;
}

struct rest {
    size_t lines; /* after the first bad one */
    bool good;    /* one of them is a line of the log */
};

static bool see_rest(void *arg, off_t offset, const char *line, size_t len)
{
    struct rest *rest = arg;
    uint64_t sequence = 0;
    uint8_t prev[CHAIN_HASH_LEN];
    (void)offset;
    rest->good = rest->lines++ > 0 && chain_line_decode(line, len, &sequence, prev);
    return !rest->good;
}

static enum tg_code move_aside(const struct chain_log *log, off_t from, off_t to, struct tg_error *err)
{
    size_t len = (size_t)(to - from);
    char path[CHAIN_PATH_MAX];
    char name[CHAIN_PATH_MAX + 64];
    TG_TRY(chain_file_path(log->directory, log->segments[log->count - 1].first, path, err));
    snprintf(name, sizeof name, "%s.torn-%" PRIu64, path, clock_unix_us());
    char *bytes = malloc(len);
    TG_ENSURE(bytes != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for %zu torn bytes", len);
    ssize_t got = pread(log->fd, bytes, len, from);
    enum tg_code code = got == (ssize_t)len ? file_write_new(name, bytes, len, err)
                                            : tg_fail(err, TG_UNAVAILABLE, "cannot read %s", path);
    free(bytes);
    return code;
}

/* Torn, by a crash in the middle of a batch that nobody was told of, is what ends the log. A bad line with a
 * good one after it is something else. */
static enum tg_code cut_torn(struct chain_log *log, const struct chain_head *head, off_t good, off_t len,
                             struct tg_error *err)
{
    struct rest rest = {0};
    off_t at = good;
    TG_TRY(chain_file_lines(log->fd, &at, len, see_rest, &rest, err));
    uint64_t segment = log->segments[log->count - 1].first;
    TG_ENSURE(!rest.good, err, TG_DATA_LOSS,
              "the audit log's chain is broken at line %" PRIu64 " of segment %" PRIu64 " (sequence %" PRIu64
              "): %s",
              head->next - segment + 1, segment, head->next, advice);
    struct tg_error why = {0};
    bool kept = move_aside(log, good, len, &why) == TG_OK;
    if (ftruncate(log->fd, good) != 0 || fsync(log->fd) != 0)
        return chain_disk_error(errno, "truncate", log->directory, err);
    LOG(LOG_WARNING, NULL, "audit.torn_end_cut", LOG_NUMBER("sequence", head->next),
        LOG_NUMBER("bytes", len - good),
        LOG_TEXT("meaning", "written when the service was stopped, never acknowledged"),
        LOG_TEXT("kept", kept ? "beside the segment, as .torn" : why.text));
    return TG_OK;
}

/* The last segment: every line. */
static enum tg_code scan_last(struct chain_log *log, struct tg_error *err)
{
    struct chain_segment *segment = &log->segments[log->count - 1];
    off_t len = 0;
    TG_TRY(chain_file_open(log->directory, segment->first, &log->fd, &len, err));
    struct scan scan = {.segment = segment, .head = log->head};
    off_t good = 0;
    TG_TRY(chain_file_lines(log->fd, &good, len, scan_line, &scan, err));
    if (good < len)
        TG_TRY(cut_torn(log, &scan.head, good, len, err));
    segment->marked = true;
    log->head = scan.head;
    log->next = scan.head.next;
    log->durable_len = good;
    return TG_OK;
}

static enum tg_code begin(struct chain_log *log, struct tg_error *err)
{
    TG_TRY(chain_file_create(log->directory, 1, &log->fd, err));
    TG_TRY(chain_add_segment(log, 1, err));
    log->segments[0].marked = true;
    log->next = 1;
    return TG_OK;
}

static enum tg_code check_all(struct chain_log *log, const uint64_t *first, size_t count,
                              struct tg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        TG_ENSURE(first[i] == log->head.next, err, TG_DATA_LOSS,
                  "the audit log's segments do not follow each other: %" PRIu64 " is expected, %" PRIu64
                  " is there: %s",
                  log->head.next, first[i], advice);
        TG_TRY(chain_add_segment(log, first[i], err));
        TG_TRY(i + 1 < count ? check_edges(log, first[i], &log->head, err) : scan_last(log, err));
    }
    return TG_OK;
}

enum tg_code chain_recover(struct chain_log *log, struct tg_error *err)
{
    uint64_t *first = NULL;
    size_t count = 0;
    log->head = (struct chain_head){.next = 1};
    TG_TRY(chain_file_list(log->directory, &first, &count, err));
    enum tg_code code = count == 0 ? begin(log, err) : check_all(log, first, count, err);
    free(first);
    return code;
}
