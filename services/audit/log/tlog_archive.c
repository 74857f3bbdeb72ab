#include "services/audit/log/tlog_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/trace.h"
#include "services/audit/log/bundle.h"
#include "services/audit/search/terms.h"

enum { COVER_MS = 30000 };

/* One run's work. */
struct run {
    struct tlog *log;
    struct tlog_archiving *archiving;
    struct bundle_places places;
    uint64_t first; /* bundle */
    uint64_t end;
    struct tile_bytes here;  /* the log's */
    struct tile_bytes there; /* the archive's */
};

static struct tile bundle_of(uint64_t index)
{
    return (struct tile){TILE_ENTRIES, index, TILE_WIDTH};
}

/* That the newest checkpoint covers. */
static uint64_t full_bundles(struct tlog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t full = log->covered / TILE_WIDTH;
    pthread_mutex_unlock(&log->lock);
    return full;
}

/* Names the archive: the same words as for the log would lead to the wrong disk. */
static enum tg_code archive_failed(const struct run *run, const struct tg_error *why, struct tg_error *err)
{
    return tg_fail(err, why->code, "archive %.80s: %s", run->log->archive, why->text);
}

/* ---- 1: copies ---- */

/* All of its entries are old enough. */
static bool is_due(const struct run *run)
{
    const uint8_t *at = run->here.data;
    const char *entry = NULL;
    size_t len = 0;
    while (tile_next_entry(&at, run->here.data + run->here.len, &entry, &len)) {
        uint64_t ms = terms_time(entry, len);
        if (ms == 0 || ms >= run->archiving->before_ms)
            return false;
    }
    return true;
}

static enum tg_code compare(const struct run *run, uint64_t index, struct tg_error *err)
{
    const struct tile tile = bundle_of(index);
    char path[TILE_PATH_MAX];
    tile_path(&tile, path);
    TG_ENSURE(
        run->here.len == run->there.len && memcmp(run->here.data, run->there.data, run->here.len) == 0, err,
        TG_DATA_LOSS,
        "%s in the log and in the archive %.80s are not the same: nothing is moved. Keep both as evidence",
        path, run->log->archive);
    return TG_OK;
}

static enum tg_code read_there(struct run *run, const struct tile *tile, struct tg_error *err)
{
    struct tg_error why = {0};
    return tile_read(run->places.archive, tile, &run->there, &why) == TG_OK ? TG_OK
                                                                            : archive_failed(run, &why, err);
}

static enum tg_code copy(struct run *run, uint64_t index, struct tg_error *err)
{
    const struct tlog *log = run->log;
    const struct tile tile = bundle_of(index);
    char path[TILE_PATH_MAX];
    struct tg_error why = {0};
    if (bundle_is_in(run->places.archive, index)) {
        TG_TRY(read_there(run, &tile, err));
        return compare(run, index, err);
    }
    tile_path(&tile, path);
    return tlog_write_file(log->io, run->places.archive, path, run->here.data, run->here.len, &why) == TG_OK
               ? TG_OK
               : archive_failed(run, &why, err);
}

/* Makes the names on the way to the bundle durable. */
static enum tg_code sync_names(const struct run *run, uint64_t index, struct tg_error *err)
{
    const struct tile tile = bundle_of(index);
    char path[TILE_PATH_MAX];
    tile_path(&tile, path);
    struct tg_error why = {0};
    enum tg_code code = TG_OK;
    for (char *slash = strrchr(path, '/'); slash != NULL && code == TG_OK; slash = strrchr(path, '/')) {
        *slash = '\0';
        code = tlog_sync_directory(run->log->io, run->places.archive, path, &why);
    }
    if (code == TG_OK)
        code = tlog_sync_directory(run->log->io, run->places.archive, ".", &why);
    return code == TG_OK ? TG_OK : archive_failed(run, &why, err);
}

static enum tg_code go_on(const struct run *run, struct tg_error *err)
{
    TG_ENSURE(run->archiving->go_on(run->archiving->arg), err, TG_CANCELLED, "archiving was given up");
    return TG_OK;
}

static enum tg_code copy_all(struct run *run, uint64_t end, struct tg_error *err)
{
    enum { NAMES = 1000 }; /* in one directory */
    for (run->end = run->first; run->end < end; run->end++) {
        const struct tile tile = bundle_of(run->end);
        TG_TRY(go_on(run, err));
        TG_TRY(tile_read(run->log->directory, &tile, &run->here, err));
        TG_TRY(bundle_check(run->log->directory, &tile, &run->here, err));
        if (!is_due(run))
            break;
        run->archiving->more = run->end - run->first == run->archiving->bundle_max;
        if (run->archiving->more)
            break;
        if (run->end % NAMES == 0 && run->end > run->first)
            TG_TRY(sync_names(run, run->end - 1, err));
        TG_TRY(copy(run, run->end, err));
    }
    return run->end > run->first ? sync_names(run, run->end - 1, err) : TG_OK;
}

/* ---- 2: the announcement ---- */

static enum tg_code announce(const struct run *run, struct tg_error *err)
{
    const struct tlog_archiving *archiving = run->archiving;
    uint64_t sequence = 0;
    TG_TRY(archiving->announce(archiving->arg, run->first * TILE_WIDTH, run->end * TILE_WIDTH - 1, &sequence,
                               err));
    TG_ENSURE(tlog_wait_covered(run->log, sequence + 1, clock_now_ms() + COVER_MS, archiving->go_on,
                                archiving->arg),
              err, TG_UNAVAILABLE, "no checkpoint covers the announcement: event %" PRIu64, sequence);
    return TG_OK;
}

/* ---- 3: off the log ---- */

static enum tg_code check_two_files(const struct run *run, const char *path, struct tg_error *err)
{
    struct stat here = {0};
    struct stat there = {0};
    TG_ENSURE(fstatat(run->places.log, path, &here, AT_SYMLINK_NOFOLLOW) == 0 &&
                  fstatat(run->places.archive, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                  (here.st_dev != there.st_dev || here.st_ino != there.st_ino),
              err, TG_FAILED_PRECONDITION,
              "the archive %.80s is the log itself, or linked with it (%s): give it a directory of its own",
              run->log->archive, path);
    return TG_OK;
}

static enum tg_code take_off(struct run *run, uint64_t index, struct tg_error *err)
{
    const struct tlog *log = run->log;
    const struct tile tile = bundle_of(index);
    char path[TILE_PATH_MAX];
    tile_path(&tile, path);
    TG_TRY(check_two_files(run, path, err));
    TG_TRY(tile_read(log->directory, &tile, &run->here, err));
    TG_TRY(read_there(run, &tile, err));
    TG_TRY(compare(run, index, err));
    tlog_remove_partial(log, &tile); /* of a crash; nobody looks for them behind a bundle that is gone */
    TG_ENSURE(!bundle_has_partials(log->directory, index), err, TG_UNAVAILABLE, "cannot remove %s.p", path);
    if (log->io->unlink(log->directory, path, 0) != 0)
        return tlog_disk_error(errno, "remove", path, err);
    run->archiving->count += TILE_WIDTH;
    return TG_OK;
}

static enum tg_code take_all_off(struct run *run, struct tg_error *err)
{
    for (uint64_t index = run->first; index < run->end; index++) {
        TG_TRY(go_on(run, err));
        TG_TRY(take_off(run, index, err));
    }
    return TG_OK;
}

/* ---- together ---- */

static enum tg_code move(struct run *run, struct tg_error *err)
{
    struct tlog *log = run->log;
    uint64_t full = full_bundles(log);
    run->first = bundle_first(log->directory, full);
    run->archiving->first = run->first * TILE_WIDTH;
    TG_ENSURE(run->first == 0 || bundle_is_in(run->places.archive, run->first - 1), err, TG_UNAVAILABLE,
              "archive %.80s: it does not hold what was archived last, event %" PRIu64
              ": mount it, or bring back what is missing",
              log->archive, run->first * TILE_WIDTH - 1);
    TG_TRY(copy_all(run, full, err));
    if (run->end == run->first)
        return TG_OK;
    TG_TRY(announce(run, err));
    return take_all_off(run, err);
}

enum tg_code tlog_archive(struct log_writer *writer, struct tlog_archiving *archiving, struct tg_error *err)
{
    struct tlog *log = (struct tlog *)writer;
    struct run run = {.log = log, .archiving = archiving, .places = {log->directory, -1}};
    archiving->first = archiving->count = 0;
    archiving->more = false;
    TG_ENSURE(log->archive != NULL, err, TG_FAILED_PRECONDITION, "the log has no archive");
    run.places.archive = tlog_open_archive(log);
    TG_ENSURE(run.places.archive >= 0, err, TG_UNAVAILABLE, "archive %.80s: cannot open it: %s", log->archive,
              strerror(errno));
    enum tg_code code = move(&run, err);
    close(run.places.archive);
    tile_bytes_free(&run.here);
    tile_bytes_free(&run.there);
    return code;
}

/* ---- reading what has gone ---- */

int tlog_open_archive(const struct tlog *log)
{
    return log->archive == NULL ? -1 : open(log->archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum tg_code not_there(struct tlog *log, uint64_t index, struct tg_error *err)
{
    const struct tile tile = bundle_of(index);
    char path[TILE_PATH_MAX];
    tile_path(&tile, path);
    TG_ENSURE(index == 0 || !bundle_is_in(log->directory, index - 1), err, TG_DATA_LOSS,
              "%s is missing, and older ones are there: it is lost", path);
    uint64_t first = bundle_first(log->directory, full_bundles(log));
    TG_ENSURE(log->archive != NULL, err, TG_UNAVAILABLE,
              "events 0 to %" PRIu64 " lie in an archive, and archive.directory does not say where",
              first * TILE_WIDTH - 1);
    return tg_fail(err, TG_UNAVAILABLE,
                   "events 0 to %" PRIu64 " lie in the archive %.80s, and it does not give event %" PRIu64
                   ": is it mounted?",
                   first * TILE_WIDTH - 1, log->archive, index * TILE_WIDTH);
}

static enum tg_code check_archived(const struct tlog *log, const struct tile *tile,
                                   const struct tile_bytes *bytes, struct tg_error *err)
{
    struct tg_error why = {0};
    enum tg_code code = bundle_check(log->directory, tile, bytes, &why);
    TG_ENSURE(code == TG_OK, err, code, "archive %.80s: %s", log->archive, why.text);
    return TG_OK;
}

enum tg_code tlog_read_bundle(struct tlog *log, const struct tile *tile, struct tile_bytes *bytes,
                              struct tg_error *err)
{
    struct bundle_places places = {log->directory, -1};
    bool archived = false;
    enum tg_code code = bundle_read(&places, tile, bytes, &archived, err);
    if (code == TG_OK || (code == TG_DATA_LOSS && bundle_is_in(log->directory, tile->index)))
        return code;
    places.archive = tlog_open_archive(log);
    code = bundle_read(&places, tile, bytes, &archived, err);
    if (places.archive >= 0)
        close(places.archive);
    if (code == TG_NOT_FOUND)
        return not_there(log, tile->index, err);
    return code == TG_OK && archived ? check_archived(log, tile, bytes, err) : code;
}
