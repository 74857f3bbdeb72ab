/* Taking durable entries into tiles, and signing. Each round is: tiles and bundles, each durable under its
 * final name; their directories; a look at what is now there; the checkpoint. A round that fails at any step
 * is done again from the last checkpoint on. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"
#include "services/audit/log/tlog.h"

enum { RETRY_MS = 500, DIRECTORIES_MAX = 256, ROUND_BYTES = 16 << 20 };

/* One round's work. */
struct round {
    struct tlog *log;
    struct tile_bytes seen;                         /* what a file holds already */
    char directory[DIRECTORIES_MAX][TILE_PATH_MAX]; /* in which names were made */
    size_t directories;
};

static enum tg_code sync_directories(struct round *round, struct tg_error *err)
{
    const struct tlog *log = round->log;
    for (size_t i = 0; i < round->directories; i++)
        TG_TRY(tlog_sync_directory(log->io, log->directory, round->directory[i], err));
    round->directories = 0;
    return TG_OK;
}

static enum tg_code note_directory(struct round *round, const char *path, size_t len, struct tg_error *err)
{
    char name[TILE_PATH_MAX];
    snprintf(name, sizeof name, "%.*s", (int)len, path);
    for (size_t i = round->directories; i > 0; i--) {
        if (strcmp(round->directory[i - 1], name) == 0)
            return TG_OK;
    }
    if (round->directories == DIRECTORIES_MAX)
        TG_TRY(sync_directories(round, err));
    memcpy(round->directory[round->directories++], name, sizeof name);
    return TG_OK;
}

/* A failed round may have made any of them without syncing it. */
static enum tg_code note_directories(struct round *round, const char *path, struct tg_error *err)
{
    TG_TRY(note_directory(round, ".", 1, err));
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
        TG_TRY(note_directory(round, path, (size_t)(slash - path), err));
    return TG_OK;
}

/* Writes what is not there yet. What is there must be the same: it may have been signed. */
static enum tg_code put_tile(struct round *round, const struct tile *tile, const void *bytes, size_t len,
                             struct tg_error *err)
{
    const struct tlog *log = round->log;
    char path[TILE_PATH_MAX];
    tile_path(tile, path);
    TG_TRY(note_directories(round, path, err));
    if (faccessat(log->directory, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        return tlog_write_file(log->io, log->directory, path, bytes, len, err);
    TG_TRY(tile_read(log->directory, tile, &round->seen, err));
    TG_ENSURE(round->seen.len == len && memcmp(round->seen.data, bytes, len) == 0, err, TG_DATA_LOSS,
              "%s is there already with other content: nothing is signed. Keep the directory as evidence",
              path);
    return TG_OK;
}

static enum tg_code put_hashes(void *arg, const struct tile *tile, const struct merkle_hash *hashes,
                               struct tg_error *err)
{
    return put_tile(arg, tile, hashes, tile->width * sizeof *hashes, err);
}

static enum tg_code put_bundle(struct round *round, uint64_t size, struct tg_error *err)
{
    const struct tlog *log = round->log;
    struct tile tile = tile_of(size, TILE_ENTRIES, (size - 1) / TILE_WIDTH);
    return put_tile(round, &tile, log->tail.data, log->tail.len, err);
}

static enum tg_code add_batch(struct round *round, const struct tlog_batch *batch, struct tg_error *err)
{
    struct tlog *log = round->log;
    const uint8_t *at = batch->bytes + JOURNAL_HEAD;
    const uint8_t *end = batch->bytes + batch->len;
    const char *entry = NULL;
    size_t len = 0;
    TG_INVARIANT(batch->first == log->next_tree.size);
    for (const uint8_t *start = at; tile_next_entry(&at, end, &entry, &len); start = at) {
        struct merkle_hash leaf;
        merkle_leaf(log->merkle, entry, len, &leaf);
        TG_ENSURE(tile_bytes_add(&log->tail, start, (size_t)(at - start)), err, TG_RESOURCE_EXHAUSTED,
                  "no memory for a bundle of the audit log");
        TG_TRY(tree_add(&log->next_tree, log->merkle, &leaf, put_hashes, round, err));
        if (log->next_tree.size % TILE_WIDTH == 0) {
            TG_TRY(put_bundle(round, log->next_tree.size, err));
            log->tail.len = 0;
        }
    }
    return TG_OK;
}

/* From the tiles as they now lie there: the tree begins with what was signed last, and is the one that is to
 * be signed. */
static enum tg_code check_extends(const struct tlog *log, const struct merkle_hash *root,
                                  struct tg_error *err)
{
    struct proof_source source = {
        .directory = log->directory, .size = log->next_tree.size, .merkle = log->merkle};
    struct merkle_hash before;
    struct merkle_hash now;
    enum tg_code code = proof_root(&source, log->signed_last.size, &before, err);
    if (code == TG_OK)
        code = proof_root(&source, source.size, &now, err);
    proof_close(&source);
    TG_TRY(code);
    TG_ENSURE(merkle_equal(&before, &log->signed_last.root) && merkle_equal(&now, root), err, TG_DATA_LOSS,
              "the audit log's tiles do not continue its checkpoint of %" PRIu64
              " entries: nothing is signed. Run `tgctl audit verify`, keep the directory as evidence",
              log->signed_last.size);
    return TG_OK;
}

enum tg_code tlog_publish(struct tlog *log, char **note, struct checkpoint *checkpoint, struct tg_error *err)
{
    *checkpoint = (struct checkpoint){.size = log->next_tree.size};
    memcpy(checkpoint->origin, log->origin, sizeof log->origin);
    tree_root(&log->next_tree, log->merkle, &checkpoint->root);
    TG_TRY(check_extends(log, &checkpoint->root, err));
    TG_TRY(checkpoint_sign(checkpoint, &log->keys, note, err));
    enum tg_code code = tlog_write_file(log->io, log->directory, "checkpoint", *note, strlen(*note), err);
    if (code == TG_OK)
        code = tlog_sync_directory(log->io, log->directory, ".", err);
    if (code != TG_OK) {
        free(*note);
        *note = NULL;
    }
    return code;
}

void tlog_remove_partial(const struct tlog *log, const struct tile *tile)
{
    char path[TILE_PATH_MAX];
    char name[TILE_PATH_MAX + 8];
    tile_partial_directory(tile, path);
    if (faccessat(log->directory, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    for (unsigned width = 1; width < TILE_WIDTH; width++) {
        snprintf(name, sizeof name, "%s/%u", path, width);
        (void)log->io->unlink(log->directory, name, 0);
    }
    (void)log->io->unlink(log->directory, path, AT_REMOVEDIR); /* what stays is no harm */
}

static void remove_partials(const struct tlog *log, uint64_t from, uint64_t to)
{
    for (int level = TILE_ENTRIES; level < TILE_LEVELS; level++) {
        int shift = level == TILE_ENTRIES ? 8 : 8 * level + 8;
        for (uint64_t index = shift < 64 ? from >> shift : 0; shift < 64 && index < to >> shift; index++) {
            const struct tile tile = {level, index, TILE_WIDTH};
            tlog_remove_partial(log, &tile);
        }
    }
}

/* The new checkpoint is out: readers find these batches in tiles now. */
static void let_go(struct tlog *log, char *note)
{
    pthread_mutex_lock(&log->lock);
    while (log->oldest != NULL && log->oldest->first < log->signed_last.size) {
        struct tlog_batch *batch = log->oldest;
        log->oldest = batch->next;
        log->waiting_bytes -= batch->len;
        tlog_release(log, batch);
    }
    if (log->oldest == NULL)
        log->newest = NULL;
    log->waiting_since_ms = log->oldest == NULL ? 0 : clock_now_ms();
    log->covered = log->signed_last.size;
    free(log->note);
    log->note = note;
    pthread_mutex_unlock(&log->lock);
    journal_forget(&log->journal, log->signed_last.size);
}

/* What has come in, but not more than is written in a moment; oldest to *last. */
static struct tlog_batch *take_round(struct tlog *log, struct tlog_batch **last)
{
    size_t bytes = 0;
    pthread_mutex_lock(&log->lock);
    struct tlog_batch *first = log->oldest;
    for (struct tlog_batch *at = first; at != NULL && bytes < ROUND_BYTES; at = at->next) {
        *last = at;
        bytes += at->len;
    }
    pthread_mutex_unlock(&log->lock);
    return first;
}

static enum tg_code build(struct round *round, struct tlog_batch *first, const struct tlog_batch *last,
                          struct tg_error *err)
{
    struct tlog *log = round->log;
    for (const struct tlog_batch *at = first;; at = at->next) { /* only the last one's `next` changes */
        TG_TRY(add_batch(round, at, err));
        if (at == last)
            break;
    }
    if (log->tail.len > 0)
        TG_TRY(put_bundle(round, log->next_tree.size, err));
    TG_TRY(tree_edge(&log->next_tree, put_hashes, round, err));
    return sync_directories(round, err);
}

/* The bundle at the edge as it was signed. A failed round has gone on with it. */
static enum tg_code restore_tail(struct tlog *log, struct tg_error *err)
{
    struct tile tile = tile_of(log->tree.size, TILE_ENTRIES, log->tree.size / TILE_WIDTH);
    log->tail.len = 0;
    return tile.width == 0 ? TG_OK : tile_read(log->directory, &tile, &log->tail, err);
}

static enum tg_code one_round(struct tlog *log, struct tg_error *err)
{
    struct round *round = calloc(1, sizeof *round);
    TG_ENSURE(round != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to sign the audit log");
    struct tlog_batch *last = NULL;
    struct tlog_batch *first = take_round(log, &last);
    char *note = NULL;
    struct checkpoint checkpoint;
    round->log = log;
    log->next_tree = log->tree;
    enum tg_code code = first == NULL ? TG_OK : build(round, first, last, err);
    if (code == TG_OK && first != NULL)
        code = tlog_publish(log, &note, &checkpoint, err);
    if (code == TG_OK && first != NULL) {
        uint64_t before = log->tree.size;
        log->tree = log->next_tree;
        log->signed_last = checkpoint;
        let_go(log, note);
        remove_partials(log, before, checkpoint.size);
    }
    tile_bytes_free(&round->seen);
    free(round);
    return code;
}

/* The lock is held, not while it works. */
static bool run_round(struct tlog *log)
{
    struct tg_error err = {0};
    bool was_in_trouble = log->trouble[0] != '\0';
    log->hurry = false;
    pthread_mutex_unlock(&log->lock);
    enum tg_code code = was_in_trouble ? restore_tail(log, &err) : TG_OK;
    if (code == TG_OK)
        code = one_round(log, &err);
    if (code != TG_OK && !was_in_trouble)
        LOG(LOG_ERROR, NULL, "audit.not_signed", LOG_ERR(&err));
    if (code == TG_OK && was_in_trouble)
        LOG(LOG_WARNING, NULL, "audit.signed_again", LOG_NUMBER("entries", log->tree.size));
    pthread_mutex_lock(&log->lock);
    log->trouble[0] = '\0';
    if (code != TG_OK)
        snprintf(log->trouble, sizeof log->trouble, "%s", err.text);
    log->trouble_code = code;
    pthread_cond_broadcast(&log->done);
    return code == TG_OK;
}

void *tlog_integrate_main(void *arg)
{
    struct tlog *log = arg;
    uint64_t not_before_ms = 0;
    pthread_mutex_lock(&log->lock);
    while (!log->stopping) {
        uint64_t due_ms = log->waiting_since_ms + log->integrate_ms;
        if (log->oldest == NULL) {
            log->hurry = false;
            pthread_cond_wait(&log->wake, &log->lock);
        } else if (clock_now_ms() < not_before_ms) {
            (void)monotonic_wait(&log->wake, &log->lock, not_before_ms);
        } else if (!log->hurry && log->waiting_bytes < ROUND_BYTES / 2 && clock_now_ms() < due_ms) {
            (void)monotonic_wait(&log->wake, &log->lock, due_ms);
        } else {
            not_before_ms = run_round(log) ? 0 : clock_now_ms() + RETRY_MS;
        }
    }
    while (log->oldest != NULL && run_round(log))
        ;
    log->ended = true;
    pthread_cond_broadcast(&log->done);
    pthread_mutex_unlock(&log->lock);
    return NULL;
}
