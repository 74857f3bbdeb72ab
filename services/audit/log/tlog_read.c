/* Reading and proving: what is in tiles from there, what is not yet from memory. On any thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/monotonic.h"
#include "common/trace.h"
#include "services/audit/log/tlog.h"
#include "services/audit/log/tlog_check.h"

static struct tlog *of(struct log_writer *writer)
{
    return (struct tlog *)writer;
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

enum tg_code tlog_read(struct log_writer *writer, uint64_t from, log_visit *visit, void *arg,
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
            code = tlog_read_bundle(log, &tile, &bundle, err);
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

bool tlog_wait_covered(struct tlog *log, uint64_t end, uint64_t until_ms, bool (*go_on)(void *arg), void *arg)
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

enum tg_code tlog_checkpoint(struct log_writer *writer, char **note, struct tg_error *err)
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

enum tg_code tlog_receipt(struct log_writer *writer, uint64_t sequence, unsigned wait_ms, char **text,
                          struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct receipt receipt = {.index = sequence};
    char *note = NULL;
    uint64_t size = 0;
    TG_ENSURE(sequence < tlog_next(writer), err, TG_NOT_FOUND, "there is no event %" PRIu64, sequence);
    TG_ENSURE(tlog_wait_covered(log, sequence + 1, clock_now_ms() + wait_ms, NULL, NULL), err, TG_UNAVAILABLE,
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

enum tg_code tlog_tile(struct log_writer *writer, const struct tile *tile, struct tile_bytes *bytes,
                       struct tg_error *err)
{
    struct tlog *log = of(writer);
    pthread_mutex_lock(&log->lock);
    uint64_t covered = log->covered;
    pthread_mutex_unlock(&log->lock);
    struct tile newest_one = tile_of(covered, tile->level, tile->index);
    TG_ENSURE(tile->width > 0 && tile->width <= newest_one.width, err, TG_NOT_FOUND,
              "no checkpoint covers this tile");
    return tile->level == TILE_ENTRIES ? tlog_read_bundle(log, tile, bytes, err)
                                       : tile_read(log->directory, tile, bytes, err);
}

enum tg_code tlog_consistency(struct log_writer *writer, uint64_t old, uint64_t *size,
                              struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count, struct tg_error *err)
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

enum tg_code tlog_verify(struct log_writer *writer, const char *older, bool (*go_on)(void *arg), void *arg,
                         struct log_verdict *verdict, struct tg_error *err)
{
    struct tlog *log = of(writer);
    struct tlog_check check = {.directory = log->directory,
                               .archive = tlog_open_archive(log),
                               .keys = &log->keys,
                               .older = older,
                               .older_len = older == NULL ? 0 : strlen(older),
                               .go_on = go_on,
                               .arg = arg};
    (void)tlog_wait_covered(log, tlog_next(writer), UINT64_MAX, go_on, arg);
    enum tg_code code = tlog_check(&check, err);
    if (check.archive >= 0)
        close(check.archive);
    *verdict = (struct log_verdict){.entries = check.entries, .archived = check.archived};
    return code;
}
