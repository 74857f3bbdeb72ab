#include "services/audit/log/tlog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"

enum {
    JOURNAL_SIZE = 16 << 20,
    INTEGRATE_MS = 300,
    WAITING_BYTES_MAX = 64 << 20, /* in memory only for as long as they are not in tiles */
    LATE_MS = 20000,
    CLOSE_MS = 2000,
    LINE_NUMBER_MAX = 20
};

static const char line_head[] = "{\"metadata\":{\"sequence\":";
enum { LINE_HEAD_LEN = sizeof line_head - 1, OVERHEAD = 2 + LINE_HEAD_LEN + LINE_NUMBER_MAX + 1 };

static struct tlog *of(struct log_writer *writer)
{
    return (struct tlog *)writer;
}

/* ---- batches in memory ---- */

struct tlog_batch *tlog_batch_new(size_t len)
{
    struct tlog_batch *batch = malloc(sizeof *batch + len);
    if (batch != NULL)
        *batch = (struct tlog_batch){.references = 1, .len = len};
    return batch;
}

void tlog_push(struct tlog *log, struct tlog_batch *batch)
{
    if (log->newest != NULL)
        log->newest->next = batch;
    else
        log->oldest = batch;
    log->newest = batch;
    log->waiting_bytes += batch->len;
    if (log->waiting_since_ms == 0)
        log->waiting_since_ms = clock_now_ms();
    log->next = batch->first + batch->count;
}

void tlog_release(struct tlog *log, struct tlog_batch *batch)
{
    (void)log;
    if (--batch->references == 0)
        free(batch);
}

/* ---- appending ---- */

static enum tg_code encode(const struct log_entry *entries, size_t count, uint64_t first,
                           struct tlog_batch **out, struct tg_error *err)
{
    size_t room = JOURNAL_HEAD;
    for (size_t i = 0; i < count; i++) {
        TG_ENSURE(entries[i].len > 0 && entries[i].len <= ENTRY_MAX + 2 - OVERHEAD, err, TG_INVALID_ARGUMENT,
                  "an event of %zu bytes does not fit an entry of the audit log", entries[i].len);
        room += entries[i].len + OVERHEAD;
    }
    struct tlog_batch *batch = tlog_batch_new(room);
    TG_ENSURE(batch != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for %zu bytes of audit log", room);
    uint8_t *at = batch->bytes + JOURNAL_HEAD;
    for (size_t i = 0; i < count; i++) {
        uint8_t *start = at + 2;
        int head = snprintf((char *)start, OVERHEAD, "%s%" PRIu64 ",", line_head, first + i);
        memcpy(start + head, entries[i].body, entries[i].len);
        size_t len = (size_t)head + entries[i].len;
        at[0] = (uint8_t)(len >> 8);
        at[1] = (uint8_t)len;
        at = start + len;
    }
    batch->first = first;
    batch->count = (uint32_t)count;
    batch->len = (size_t)(at - batch->bytes);
    journal_seal(batch->bytes, first, batch->count, batch->len);
    *out = batch;
    return TG_OK;
}

/* Nothing more is taken while what was taken cannot be signed. */
static enum tg_code check_integration(struct tlog *log, struct tg_error *err)
{
    enum tg_code code = TG_OK;
    pthread_mutex_lock(&log->lock);
    if (log->trouble[0] != '\0') {
        code = tg_fail(err, log->trouble_code, "%s", log->trouble);
        log->hurry = true;
        pthread_cond_signal(&log->wake);
    } else if (log->waiting_bytes > WAITING_BYTES_MAX) {
        code = tg_fail(err, TG_UNAVAILABLE, "%zu bytes wait to be signed already", log->waiting_bytes);
    } else if (log->started && log->waiting_since_ms != 0 &&
               clock_now_ms() - log->waiting_since_ms > LATE_MS) {
        code = tg_fail(err, TG_UNAVAILABLE, "the audit log's disk is too slow to sign what is reported");
    }
    pthread_mutex_unlock(&log->lock);
    return code;
}

static enum tg_code tlog_append(struct log_writer *writer, const struct log_entry *entries, size_t count,
                                uint64_t *first, struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct tlog_batch *batch = NULL;
    TG_TRY(check_integration(log, err));
    if (journal_is_large(&log->journal))
        TG_TRY(journal_rotate(&log->journal, log->next, err)); /* this thread alone changes next */
    *first = log->next;
    TG_TRY(encode(entries, count, *first, &batch, err));
    enum tg_code code = journal_append(&log->journal, batch->bytes, batch->len, err);
    if (code != TG_OK) {
        free(batch);
        return code;
    }
    pthread_mutex_lock(&log->lock);
    tlog_push(log, batch);
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    return TG_OK;
}

uint64_t tlog_next(struct log_writer *writer)
{
    struct tlog *log = of(writer);
    pthread_mutex_lock(&log->lock);
    uint64_t next = log->next;
    pthread_mutex_unlock(&log->lock);
    return next;
}

static const struct note_keys *tlog_keys(struct log_writer *writer)
{
    return &of(writer)->keys;
}

/* ---- from open to close ---- */

static enum tg_code tlog_start(struct log_writer *writer, struct tg_error *err)
{
    struct tlog *log = of(writer);
    int rc = pthread_create(&log->thread, NULL, tlog_integrate_main, log);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the thread that signs: %s", strerror(rc));
    pthread_mutex_lock(&log->lock);
    log->started = true;
    pthread_mutex_unlock(&log->lock);
    return TG_OK;
}

static enum tg_code lock_directory(struct tlog *log, const char *directory, struct tg_error *err)
{
    log->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->directory >= 0)
        log->lock_fd = openat(log->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    TG_ENSURE(log->lock_fd >= 0, err, TG_FAILED_PRECONDITION,
              "cannot use %s: %s: create the directory and give it to this user", directory, strerror(errno));
    TG_ENSURE(flock(log->lock_fd, LOCK_EX | LOCK_NB) == 0, err, TG_FAILED_PRECONDITION,
              "%s is locked: another audit process writes this log. Stop it, or give this one its own "
              "directory",
              directory);
    return TG_OK;
}

/* True: the integrator has ended, having tried once more to sign what was left. */
static bool stop(struct tlog *log)
{
    uint64_t until_ms = clock_now_ms() + CLOSE_MS;
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    pthread_cond_signal(&log->wake);
    while (!log->ended && monotonic_wait(&log->done, &log->lock, until_ms))
        ;
    bool ended = log->ended;
    pthread_mutex_unlock(&log->lock);
    if (ended)
        pthread_join(log->thread, NULL);
    return ended;
}

/* What is all in tiles needs no journal. */
static void tidy(struct tlog *log)
{
    struct tg_error err = {0};
    if (log->covered != log->next || log->journal.fd < 0 || log->journal.durable == 0)
        return;
    if (journal_rotate(&log->journal, log->next, &err) == TG_OK)
        journal_forget(&log->journal, log->covered);
    else
        LOG(LOG_WARNING, NULL, "audit.journal_kept", LOG_ERR(&err));
}

static void tlog_close(struct log_writer *writer)
{
    struct tlog *log = of(writer);
    if (log->started && !stop(log)) {
        LOG(LOG_ERROR, NULL, "audit.disk_hangs", LOG_TEXT("error", "ending before all is signed"));
        return; /* the integrator still uses the rest, until the process has ended */
    }
    if (log->started)
        tidy(log);
    journal_close(&log->journal);
    if (log->directory >= 0)
        close(log->directory);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    for (struct tlog_batch *batch = log->oldest; batch != NULL; batch = log->oldest) {
        log->oldest = batch->next;
        free(batch);
    }
    pthread_cond_destroy(&log->done);
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->lock);
    tile_bytes_free(&log->tail);
    merkle_free(log->merkle);
    note_keys_free(&log->keys);
    free(log->note);
    free(log->archive);
    free(log);
}

static const struct log_writer_ops tlog_ops = {
    .append = tlog_append,
    .next = tlog_next,
    .read = tlog_read,
    .verify = tlog_verify,
    .start = tlog_start,
    .checkpoint = tlog_checkpoint,
    .receipt = tlog_receipt,
    .tile = tlog_tile,
    .consistency = tlog_consistency,
    .keys = tlog_keys,
    .close = tlog_close,
};

static enum tg_code open_parts(struct tlog *log, const struct tlog_options *options, struct tg_error *err)
{
    TG_TRY(note_check_name(options->origin, err));
    snprintf(log->origin, sizeof log->origin, "%s", options->origin);
    for (size_t i = 0; i < options->key_count; i++)
        TG_TRY(note_keys_add_private(&log->keys, options->keys[i], options->origin, err));
    log->merkle = merkle_new();
    TG_ENSURE(log->merkle != NULL && log->keys.count > 0, err, TG_FAILED_PRECONDITION,
              "the audit log needs a key to sign with");
    if (options->archive != NULL) {
        log->archive = strdup(options->archive);
        TG_ENSURE(log->archive != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the audit log");
    }
    TG_TRY(lock_directory(log, options->directory, err));
    return tlog_recover(log, err);
}

enum tg_code tlog_open(struct log_writer **out, const struct tlog_options *options, struct tg_error *err)
{
    struct tlog *log = calloc(1, sizeof *log);
    TG_ENSURE(log != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the audit log");
    log->writer.ops = &tlog_ops;
    log->io = options->io != NULL ? options->io : &tlog_io_system;
    log->integrate_ms = options->integrate_ms != 0 ? options->integrate_ms : INTEGRATE_MS;
    log->directory = log->lock_fd = -1;
    journal_init(&log->journal, log->io, -1,
                 options->journal_size != 0 ? options->journal_size : (off_t)JOURNAL_SIZE);
    pthread_mutex_init(&log->lock, NULL);
    monotonic_cond_init(&log->wake);
    monotonic_cond_init(&log->done);
    enum tg_code code = open_parts(log, options, err);
    if (code != TG_OK) {
        tlog_close(&log->writer);
        return code;
    }
    *out = &log->writer;
    return TG_OK;
}
