/* Reading and verifying; both look only at what was durable when they began with a segment. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/audit/chain_log.h"

static struct chain_log *of(struct log_writer *writer)
{
    return (struct chain_log *)writer;
}

/* Where in which segment reading begins, and how far it may go. */
struct place {
    size_t index;
    uint64_t first;    /* of the segment */
    uint64_t sequence; /* of the line at `offset` */
    off_t offset;
    off_t end; /* -1: the segment is complete, its file's length */
    bool marked;
};

/* The last element whose sequence is not above `from`; the lock is held. */
static size_t segment_of(const struct chain_log *log, uint64_t from)
{
    size_t low = 0;
    size_t high = log->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle].first <= from)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static struct chain_mark mark_of(const struct chain_segment *segment, uint64_t from)
{
    struct chain_mark best = {segment->first, 0};
    size_t low = 0;
    size_t high = segment->mark_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (segment->marks[middle].sequence <= from) {
            best = segment->marks[middle];
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return best;
}

/* False: nothing is durable from there on. */
static bool find_place(struct chain_log *log, uint64_t from, struct place *place)
{
    pthread_mutex_lock(&log->lock);
    bool found = from < log->next;
    if (found) {
        place->index = segment_of(log, from);
        const struct chain_segment *segment = &log->segments[place->index];
        struct chain_mark mark = mark_of(segment, from);
        place->first = segment->first;
        place->sequence = mark.sequence;
        place->offset = mark.offset;
        place->end = place->index + 1 == log->count ? log->durable_len : -1;
        place->marked = segment->marked || place->end >= 0;
    }
    pthread_mutex_unlock(&log->lock);
    return found;
}

static enum tg_code open_place(const struct chain_log *log, struct place *place, int *fd,
                               struct tg_error *err)
{
    off_t len = 0;
    TG_TRY(chain_file_open(log->directory, place->first, fd, &len, err));
    if (place->end < 0)
        place->end = len;
    if (len >= place->end)
        return TG_OK;
    close(*fd);
    return tg_fail(err, TG_DATA_LOSS, "segment %" PRIu64 " of the audit log has become shorter",
                   place->first);
}

static bool mark_line(void *arg, off_t offset, const char *line, size_t len)
{
    struct chain_segment *segment = arg;
    uint64_t sequence = 0;
    uint8_t prev[CHAIN_HASH_LEN];
    if (!chain_line_decode(line, len, &sequence, prev))
        return false;
    chain_add_mark(segment, sequence, offset);
    return true;
}

/* Older segments get their marks when somebody first reads in them. */
static enum tg_code mark_segment(struct chain_log *log, const struct place *place, int fd,
                                 struct tg_error *err)
{
    struct chain_segment made = {.first = place->first, .marked = true};
    off_t offset = 0;
    enum tg_code code = chain_file_lines(fd, &offset, place->end, mark_line, &made, err);
    pthread_mutex_lock(&log->lock);
    struct chain_segment *segment = &log->segments[place->index];
    bool keep = code == TG_OK && !segment->marked;
    if (keep) {
        free(segment->marks);
        *segment = made;
    }
    pthread_mutex_unlock(&log->lock);
    if (!keep)
        free(made.marks);
    return code;
}

struct reading {
    uint64_t next; /* sequence of the coming line */
    uint64_t from;
    log_visit *visit;
    void *arg;
    bool stopped;
    bool broken;
};

static bool read_line(void *arg, off_t offset, const char *line, size_t len)
{
    struct reading *reading = arg;
    uint64_t sequence = 0;
    uint8_t prev[CHAIN_HASH_LEN];
    (void)offset;
    reading->broken = !chain_line_decode(line, len, &sequence, prev) || sequence != reading->next;
    if (reading->broken)
        return false;
    reading->next++;
    reading->stopped = sequence >= reading->from && !reading->visit(reading->arg, sequence, line, len);
    return !reading->stopped;
}

static enum tg_code read_segment(struct chain_log *log, struct place *place, struct reading *reading,
                                 struct tg_error *err)
{
    int fd = -1;
    TG_TRY(open_place(log, place, &fd, err));
    enum tg_code code = TG_OK;
    if (!place->marked && (code = mark_segment(log, place, fd, err)) == TG_OK) {
        off_t end = place->end;
        find_place(log, reading->from, place);
        place->end = end;
    }
    reading->next = place->sequence;
    off_t offset = place->offset;
    if (code == TG_OK)
        code = chain_file_lines(fd, &offset, place->end, read_line, reading, err);
    close(fd);
    TG_TRY(code);
    TG_ENSURE(!reading->broken && (reading->stopped || offset == place->end), err, TG_DATA_LOSS,
              "the audit log cannot be read at sequence %" PRIu64 ": run `tgctl audit verify`",
              reading->next);
    return TG_OK;
}

enum tg_code chain_read(struct log_writer *writer, uint64_t from, log_visit *visit, void *arg,
                        struct tg_error *err)
{
    struct chain_log *log = of(writer);
    struct reading reading = {.from = from == 0 ? 1 : from, .visit = visit, .arg = arg};
    struct place place;
    while (!reading.stopped && find_place(log, reading.from, &place)) {
        TG_TRY(read_segment(log, &place, &reading, err));
        TG_ENSURE(reading.stopped || reading.next > reading.from, err, TG_DATA_LOSS,
                  "the audit log has nothing at sequence %" PRIu64 ": run `tgctl audit verify`",
                  reading.from);
        reading.from = reading.next;
    }
    return TG_OK;
}

struct verification {
    struct chain_head head;
    bool (*go_on)(void *arg);
    void *arg;
    bool cancelled;
};

static bool verify_line(void *arg, off_t offset, const char *line, size_t len)
{
    struct verification *verification = arg;
    (void)offset;
    verification->cancelled = verification->head.next % 4096 == 0 && !verification->go_on(verification->arg);
    return !verification->cancelled && chain_line_follows(&verification->head, line, len);
}

static enum tg_code verify_segment(struct chain_log *log, struct place *place,
                                   struct verification *verification, struct tg_error *err)
{
    int fd = -1;
    uint64_t first = place->first;
    TG_TRY(open_place(log, place, &fd, err));
    off_t offset = 0;
    enum tg_code code = chain_file_lines(fd, &offset, place->end, verify_line, verification, err);
    close(fd);
    TG_TRY(code);
    TG_ENSURE(!verification->cancelled, err, TG_CANCELLED, "the verification was given up");
    TG_ENSURE(offset == place->end, err, TG_DATA_LOSS,
              "line %" PRIu64 " of segment %" PRIu64 " (sequence %" PRIu64
              ") does not continue the hash chain",
              verification->head.next - first + 1, first, verification->head.next);
    return TG_OK;
}

enum tg_code chain_verify(struct log_writer *writer, bool (*go_on)(void *arg), void *arg, uint64_t *entries,
                          struct tg_error *err)
{
    struct chain_log *log = of(writer);
    struct verification verification = {.head = {.next = 1}, .go_on = go_on, .arg = arg};
    uint64_t end = writer->ops->next(writer);
    enum tg_code code = TG_OK;
    struct place place;
    while (code == TG_OK && verification.head.next < end && find_place(log, verification.head.next, &place)) {
        uint64_t before = verification.head.next;
        code = place.first != before
                   ? tg_fail(err, TG_DATA_LOSS, "a segment ends after sequence %" PRIu64, before - 1)
                   : verify_segment(log, &place, &verification, err);
        if (code == TG_OK && verification.head.next == before)
            code = tg_fail(err, TG_DATA_LOSS, "segment %" PRIu64 " is empty", before);
    }
    *entries = verification.head.next - 1;
    return code;
}
