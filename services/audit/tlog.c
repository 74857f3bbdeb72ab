#include "services/audit/tlog.h"

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
#include "services/audit/tlog_check.h"

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

static uint64_t tlog_next(struct log_writer *writer)
{
    struct tlog *log = of(writer);
    pthread_mutex_lock(&log->lock);
    uint64_t next = log->next;
    pthread_mutex_unlock(&log->lock);
    return next;
}

/* ---- reading ---- */

/* Visits the entries of one bundle or batch from *from on; *from is then the first that was not visited.
 * False: enough. */
static bool visit_entries(const uint8_t *at, const uint8_t *end, uint64_t sequence, uint64_t *from,
                          log_visit *visit, void *arg)
{
    const char *line = NULL;
    size_t len = 0;
    for (; tile_next_entry(&at, end, &line, &len); sequence++) {
        if (sequence < *from)
            continue;
        *from = sequence + 1;
        if (!visit(arg, sequence, line, len))
            return false;
    }
    return true;
}

static bool visit_batch(struct tlog *log, struct tlog_batch *batch, uint64_t *from, log_visit *visit,
                        void *arg)
{
    bool more =
        visit_entries(batch->bytes + JOURNAL_HEAD, batch->bytes + batch->len, batch->first, from, visit, arg);
    pthread_mutex_lock(&log->lock);
    tlog_release(log, batch);
    pthread_mutex_unlock(&log->lock);
    return more;
}

/* The batch that holds `from`, with a reference, or NULL: then it is in tiles (from < *covered), or not there
 * at all. */
static struct tlog_batch *find_batch(struct tlog *log, uint64_t from, uint64_t *covered, uint64_t *next)
{
    pthread_mutex_lock(&log->lock);
    struct tlog_batch *batch = from >= log->covered && from < log->next ? log->oldest : NULL;
    while (batch != NULL && batch->first + batch->count <= from)
        batch = batch->next;
    if (batch != NULL)
        batch->references++;
    *covered = log->covered;
    *next = log->next;
    pthread_mutex_unlock(&log->lock);
    return batch;
}

static enum tg_code tlog_read(struct log_writer *writer, uint64_t from, log_visit *visit, void *arg,
                              struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct tile_bytes bundle = {0};
    enum tg_code code = TG_OK;
    for (bool more = true; more && code == TG_OK;) {
        uint64_t covered = 0;
        uint64_t next = 0;
        struct tlog_batch *batch = find_batch(log, from, &covered, &next);
        if (batch != NULL) {
            more = visit_batch(log, batch, &from, visit, arg);
        } else if (from < covered) {
            struct tile tile = tile_of(covered, TILE_ENTRIES, from / TILE_WIDTH);
            code = tile_read(log->directory, &tile, &bundle, err);
            if (code == TG_OK)
                more = visit_entries(bundle.data, bundle.data + bundle.len, tile.index * TILE_WIDTH, &from,
                                     visit, arg);
        } else {
            break;
        }
    }
    tile_bytes_free(&bundle);
    return code;
}

/* ---- proofs ---- */

/* Until a checkpoint covers all below `end`. False: not in time, or not wanted any longer. */
static bool wait_covered(struct tlog *log, uint64_t end, uint64_t until_ms, bool (*go_on)(void *arg),
                         void *arg)
{
    enum { LOOK_MS = 100 };
    pthread_mutex_lock(&log->lock);
    while (log->covered < end && log->started && !log->stopping && log->trouble[0] == '\0' &&
           clock_now_ms() < until_ms) {
        uint64_t look_ms = clock_now_ms() + LOOK_MS;
        log->hurry = true;
        pthread_cond_signal(&log->wake);
        (void)monotonic_wait(&log->done, &log->lock, look_ms < until_ms ? look_ms : until_ms);
        pthread_mutex_unlock(&log->lock);
        bool wanted = go_on == NULL || go_on(arg);
        pthread_mutex_lock(&log->lock);
        if (!wanted)
            break;
    }
    bool covered = log->covered >= end;
    pthread_mutex_unlock(&log->lock);
    return covered;
}

/* The newest checkpoint and its size. */
static enum tg_code newest(struct tlog *log, char **note, uint64_t *size, struct tg_error *err)
{
    pthread_mutex_lock(&log->lock);
    *note = strdup(log->note);
    *size = log->covered;
    pthread_mutex_unlock(&log->lock);
    TG_ENSURE(*note != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a checkpoint");
    return TG_OK;
}

static enum tg_code tlog_checkpoint(struct log_writer *writer, char **note, struct tg_error *err)
{
    uint64_t size = 0;
    return newest(of(writer), note, &size, err);
}

static bool keep_entry(void *arg, uint64_t sequence, const char *line, size_t len)
{
    struct receipt *receipt = arg;
    (void)sequence;
    receipt->entry = malloc(len);
    if (receipt->entry != NULL)
        memcpy(receipt->entry, line, len);
    receipt->entry_len = len;
    return false;
}

static enum tg_code prove(struct tlog *log, uint64_t size, struct receipt *receipt, struct tg_error *err)
{
    struct proof_source source = {.directory = log->directory, .size = size, .merkle = merkle_new()};
    enum tg_code code = source.merkle != NULL
                            ? proof_inclusion(&source, receipt->index, receipt->proof, &receipt->count, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a receipt");
    proof_close(&source);
    merkle_free(source.merkle);
    return code;
}

static enum tg_code tlog_receipt(struct log_writer *writer, uint64_t sequence, unsigned wait_ms, char **text,
                                 struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct receipt receipt = {.index = sequence};
    char *note = NULL;
    uint64_t size = 0;
    TG_ENSURE(sequence < tlog_next(writer), err, TG_NOT_FOUND, "there is no event %" PRIu64, sequence);
    TG_ENSURE(wait_covered(log, sequence + 1, clock_now_ms() + wait_ms, NULL, NULL), err, TG_UNAVAILABLE,
              "no checkpoint covers event %" PRIu64 " yet: try again", sequence);
    TG_TRY(newest(log, &note, &size, err));
    enum tg_code code = tlog_read(writer, sequence, keep_entry, &receipt, err);
    if (code == TG_OK && receipt.entry == NULL)
        code = tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a receipt");
    if (code == TG_OK)
        code = prove(log, size, &receipt, err);
    if (code == TG_OK)
        code = receipt_write(&receipt, note, text, err);
    receipt_free(&receipt);
    free(note);
    return code;
}

static enum tg_code tlog_tile(struct log_writer *writer, const struct tile *tile, struct tile_bytes *bytes,
                              struct tg_error *err)
{
    struct tlog *log = of(writer);
    pthread_mutex_lock(&log->lock);
    uint64_t covered = log->covered;
    pthread_mutex_unlock(&log->lock);
    struct tile newest_one = tile_of(covered, tile->level, tile->index);
    TG_ENSURE(tile->width > 0 && tile->width <= newest_one.width, err, TG_NOT_FOUND,
              "no checkpoint covers this tile");
    return tile_read(log->directory, tile, bytes, err);
}

static enum tg_code tlog_consistency(struct log_writer *writer, uint64_t old, uint64_t *size,
                                     struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                                     struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct proof_source source = {.directory = log->directory, .merkle = merkle_new()};
    TG_ENSURE(source.merkle != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a proof");
    pthread_mutex_lock(&log->lock);
    *size = source.size = log->covered;
    pthread_mutex_unlock(&log->lock);
    enum tg_code code = old > 0 && old <= source.size
                            ? proof_consistency(&source, old, proof, count, err)
                            : tg_fail(err, TG_OUT_OF_RANGE, "the log has %" PRIu64 " entries", source.size);
    proof_close(&source);
    merkle_free(source.merkle);
    return code;
}

static enum tg_code tlog_verify(struct log_writer *writer, const char *older, bool (*go_on)(void *arg),
                                void *arg, uint64_t *entries, struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct tlog_check check = {.directory = log->directory,
                               .keys = &log->keys,
                               .older = older,
                               .older_len = older == NULL ? 0 : strlen(older),
                               .go_on = go_on,
                               .arg = arg};
    (void)wait_covered(log, tlog_next(writer), UINT64_MAX, go_on, arg);
    enum tg_code code = tlog_check(&check, err);
    *entries = check.entries;
    return code;
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
