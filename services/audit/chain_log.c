#include "services/audit/chain_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

enum { MARK_DISTANCE = 64 };

static struct chain_log *of(struct log_writer *writer)
{
    return (struct chain_log *)writer;
}

enum tg_code chain_add_segment(struct chain_log *log, uint64_t first, struct tg_error *err)
{
    struct chain_segment *more = realloc(log->segments, (log->count + 1) * sizeof *more);
    TG_ENSURE(more != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for another segment of the audit log");
    log->segments = more;
    log->segments[log->count++] = (struct chain_segment){.first = first};
    return TG_OK;
}

void chain_add_mark(struct chain_segment *segment, uint64_t sequence, off_t offset)
{
    size_t count = segment->mark_count;
    if (count > 0 && sequence - segment->marks[count - 1].sequence < MARK_DISTANCE)
        return;
    if ((count & (count - 1)) == 0) { /* full at each power of two */
        struct chain_mark *more = realloc(segment->marks, (count == 0 ? 1 : count * 2) * sizeof *more);
        if (more == NULL)
            return;
        segment->marks = more;
    }
    segment->marks[segment->mark_count++] = (struct chain_mark){sequence, offset};
}

/* After a failure: the file is put back to what is durable, through a new descriptor, since a failed
 * fdatasync leaves pages behind that a later one would call clean. */
static enum tg_code repair(struct chain_log *log, struct tg_error *err)
{
    int fd = -1;
    off_t len = 0;
    uint64_t first = log->segments[log->count - 1].first;
    TG_TRY(chain_file_open(log->directory, first, &fd, &len, err));
    close(log->fd);
    log->fd = fd;
    TG_ENSURE(len >= log->durable_len, err, TG_DATA_LOSS,
              "the audit log's last segment has become shorter than what was durable: stop the service and "
              "look at %s",
              log->directory);
    if (log->io->ftruncate(fd, log->durable_len) != 0 || log->io->fdatasync(fd) != 0)
        return chain_disk_error(errno, "truncate", log->directory, err);
    log->suspect = false;
    return TG_OK;
}

static enum tg_code rotate(struct chain_log *log, struct tg_error *err)
{
    int fd = -1;
    TG_TRY(chain_file_create(log->directory, log->head.next, &fd, err));
    pthread_mutex_lock(&log->lock);
    enum tg_code code = chain_add_segment(log, log->head.next, err);
    if (code == TG_OK)
        log->durable_len = 0;
    pthread_mutex_unlock(&log->lock);
    if (code != TG_OK) {
        close(fd);
        return code;
    }
    close(log->fd);
    log->fd = fd;
    LOG(LOG_INFO, NULL, "audit.segment_begun", LOG_NUMBER("sequence", log->head.next));
    return TG_OK;
}

static enum tg_code make_room(struct chain_log *log, const struct log_entry *entries, size_t count,
                              struct tg_error *err)
{
    size_t need = 0;
    for (size_t i = 0; i < count; i++) {
        TG_ENSURE(entries[i].len > 0 && entries[i].len <= CHAIN_BODY_MAX, err, TG_INVALID_ARGUMENT,
                  "an entry of %zu bytes does not fit a line of the audit log", entries[i].len);
        need += entries[i].len + CHAIN_LINE_OVERHEAD;
    }
    if (need <= log->buffer_size)
        return TG_OK;
    char *more = realloc(log->buffer, need);
    TG_ENSURE(more != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for %zu bytes of audit log", need);
    log->buffer = more;
    log->buffer_size = need;
    return TG_OK;
}

static enum tg_code write_all(struct chain_log *log, size_t len, struct tg_error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = log->io->pwrite(log->fd, log->buffer + done, len - done, log->durable_len + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return chain_disk_error(n == 0 ? ENOSPC : errno, "write", log->directory, err);
        done += (size_t)n;
    }
    if (log->io->fdatasync(log->fd) != 0)
        return chain_disk_error(errno, "sync", log->directory, err);
    return TG_OK;
}

static void publish(struct chain_log *log, const struct chain_head *head, size_t len)
{
    pthread_mutex_lock(&log->lock);
    chain_add_mark(&log->segments[log->count - 1], log->next, log->durable_len);
    log->durable_len += (off_t)len;
    log->next = head->next;
    pthread_mutex_unlock(&log->lock);
    log->head = *head;
}

static enum tg_code chain_append(struct log_writer *writer, const struct log_entry *entries, size_t count,
                                 uint64_t *first, struct tg_error *err)
{
    struct chain_log *log = of(writer);
    TG_TRY(make_room(log, entries, count, err));
    if (log->suspect)
        TG_TRY(repair(log, err));
    if (log->durable_len >= log->segment_size)
        TG_TRY(rotate(log, err));
    struct chain_head head = log->head;
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += chain_line_encode(&head, entries[i].body, entries[i].len, log->buffer + len);
    enum tg_code code = write_all(log, len, err);
    if (code != TG_OK) {
        log->suspect = true;
        if (log->io->ftruncate(log->fd, log->durable_len) != 0)
            LOG(LOG_DEBUG, NULL, "audit.truncate_failed",
                LOG_NUMBER("errno", errno)); /* repair tries again */
        return code;
    }
    *first = log->head.next;
    publish(log, &head, len);
    return TG_OK;
}

static uint64_t chain_next(struct log_writer *writer)
{
    struct chain_log *log = of(writer);
    pthread_mutex_lock(&log->lock);
    uint64_t next = log->next;
    pthread_mutex_unlock(&log->lock);
    return next;
}

static void chain_close(struct log_writer *writer)
{
    struct chain_log *log = of(writer);
    if (log->fd >= 0)
        close(log->fd);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    for (size_t i = 0; i < log->count; i++)
        free(log->segments[i].marks);
    pthread_mutex_destroy(&log->lock);
    free(log->segments);
    free(log->buffer);
    free(log->directory);
    free(log);
}

static const struct log_writer_ops chain_ops = {chain_append, chain_next, chain_read, chain_verify,
                                                chain_close};

enum tg_code chain_log_open(struct log_writer **out, const struct chain_options *options,
                            struct tg_error *err)
{
    struct chain_log *log = calloc(1, sizeof *log);
    TG_ENSURE(log != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the audit log");
    log->writer.ops = &chain_ops;
    log->io = options->io != NULL ? options->io : &chain_io_system;
    log->segment_size = options->segment_size;
    log->fd = log->lock_fd = -1;
    pthread_mutex_init(&log->lock, NULL);
    log->directory = strdup(options->directory);
    enum tg_code code = log->directory != NULL
                            ? chain_directory_lock(log->directory, &log->lock_fd, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the audit log");
    if (code == TG_OK)
        code = chain_recover(log, err);
    if (code != TG_OK) {
        chain_close(&log->writer);
        return code;
    }
    *out = &log->writer;
    return TG_OK;
}
