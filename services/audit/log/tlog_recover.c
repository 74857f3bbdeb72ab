/* What is done with a log when it is opened: checkpoint, right edge and journal are read, and must agree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/audit/log/tlog.h"
#include "services/audit/log/tlog_check.h"

static const char advice[] =
    "Nothing was changed: keep this directory as evidence, then restore it from a copy "
    "or configure a new one";

static bool is_there(const struct tlog *log, const char *path)
{
    return faccessat(log->directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static enum tg_code no_batch(void *arg, uint64_t first, uint32_t count, const uint8_t *bytes, size_t len,
                             struct tg_error *err)
{
    (void)arg;
    (void)count;
    (void)bytes;
    (void)len;
    return tg_fail(err, TG_DATA_LOSS, "pending holds event %" PRIu64 ", but there is no checkpoint. %s",
                   first, advice);
}

/* A new log: its first checkpoint is out before anything is taken. */
static enum tg_code begin(struct tlog *log, struct tg_error *err)
{
    struct checkpoint checkpoint;
    TG_ENSURE(!is_there(log, "tile"), err, TG_DATA_LOSS, "there are tiles, but no checkpoint. %s", advice);
    if (is_there(log, "pending")) { /* a start that did not get further */
        uint64_t next = 0;
        enum tg_code code = journal_recover(&log->journal, no_batch, NULL, &next, err);
        if (code != TG_OK && code != TG_NOT_FOUND)
            return code;
        TG_ENSURE(next == 0, err, TG_DATA_LOSS,
                  "pending goes on with event %" PRIu64 ", but there is no checkpoint. %s", next, advice);
    }
    if (log->journal.count == 0)
        TG_TRY(journal_begin(&log->journal, 0, err));
    merkle_empty(log->merkle, &log->signed_last.root);
    TG_TRY(tlog_publish(log, &log->note, &checkpoint, err));
    log->signed_last = checkpoint;
    return TG_OK;
}

/* The entries at the edge hash to the tile beside them. */
static enum tg_code check_tail(struct tlog *log, struct tg_error *err)
{
    const uint8_t *at = log->tail.data;
    const char *entry = NULL;
    size_t len = 0;
    for (unsigned i = 0; i < log->tree.level[0].width; i++) {
        struct merkle_hash leaf;
        bool good = tile_next_entry(&at, log->tail.data + log->tail.len, &entry, &len);
        if (good)
            merkle_leaf(log->merkle, entry, len, &leaf);
        TG_ENSURE(good && merkle_equal(&leaf, &log->tree.level[0].hash[i]), err, TG_DATA_LOSS,
                  "event %" PRIu64 " is not the one that was signed. %s",
                  log->tree.size - log->tree.level[0].width + i, advice);
    }
    return TG_OK;
}

static enum tg_code load_edge(struct tlog *log, struct tg_error *err)
{
    struct merkle_hash root;
    struct tile tail = tile_of(log->signed_last.size, TILE_ENTRIES, log->signed_last.size / TILE_WIDTH);
    TG_TRY(tree_load(&log->tree, log->signed_last.size, log->directory, err));
    tree_root(&log->tree, log->merkle, &root);
    TG_ENSURE(merkle_equal(&root, &log->signed_last.root), err, TG_DATA_LOSS,
              "the tiles are not those of the checkpoint of %" PRIu64 " entries. %s", log->signed_last.size,
              advice);
    if (tail.width > 0)
        TG_TRY(tile_read(log->directory, &tail, &log->tail, err));
    return check_tail(log, err);
}

static enum tg_code keep_batch(void *arg, uint64_t first, uint32_t count, const uint8_t *bytes, size_t len,
                               struct tg_error *err)
{
    struct tlog *log = arg;
    if (first + count <= log->signed_last.size)
        return TG_OK;
    TG_ENSURE(first >= log->signed_last.size, err, TG_DATA_LOSS,
              "the checkpoint of %" PRIu64 " entries ends within a batch of pending. %s",
              log->signed_last.size, advice);
    struct tlog_batch *batch = tlog_batch_new(len);
    TG_ENSURE(batch != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for events that are not yet signed");
    batch->first = first;
    batch->count = count;
    memcpy(batch->bytes, bytes, len);
    tlog_push(log, batch);
    return TG_OK;
}

static enum tg_code load_journal(struct tlog *log, struct tg_error *err)
{
    uint64_t next = 0;
    uint64_t size = log->signed_last.size;
    enum tg_code code = journal_recover(&log->journal, keep_batch, log, &next, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_DATA_LOSS,
              "pending is gone, and with it events that no checkpoint covers yet. To go on without them make "
              "an empty file pending/%020" PRIu64,
              size);
    TG_TRY(code);
    TG_ENSURE(log->journal.first[0] <= size && next >= size, err, TG_DATA_LOSS,
              "pending holds events %" PRIu64 " to %" PRIu64
              ", which do not follow the checkpoint of %" PRIu64 " entries. %s",
              log->journal.first[0], next, size, advice);
    log->next = next;
    return TG_OK;
}

enum tg_code tlog_recover(struct tlog *log, struct tg_error *err)
{
    log->journal.directory = log->directory;
    if (!is_there(log, "checkpoint"))
        return begin(log, err);
    size_t len = 0;
    TG_TRY(tlog_read_checkpoint(log->directory, &log->note, &len, err));
    enum tg_code code = checkpoint_open(log->note, len, &log->keys, &log->signed_last, err);
    TG_ENSURE(code != TG_UNAUTHENTICATED, err, TG_UNAUTHENTICATED,
              "the checkpoint is signed by none of signing_keys, or of another origin: a new key takes over "
              "while the old one is still listed beside it");
    TG_TRY(code);
    TG_TRY(load_edge(log, err));
    log->covered = log->signed_last.size;
    return load_journal(log, err);
}
