/* Is the database whole? A small one is checked at the start, a big one piece by piece while it serves: a
 * start must not take longer the more keys there are. Damage found while serving stops it for good, and a
 * mark beside the file makes the next start look at everything first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "services/key-store/store/sqlite.h"

enum check_limits {
    CHECK_WHOLE_MAX = 16 << 20, /* bytes of a file that is checked whole at the start: some 50 ms */
    CHECK_AT_ONCE = 250,        /* rows in a piece: some 2 ms */
    WAL_FRAME_HEADER = 24       /* https://www.sqlite.org/fileformat2.html 4.1 */
};

/* ---- at the start ---- */

static void mark_path(const struct sqlite *s, char out[4096])
{
    snprintf(out, 4096, "%s-damaged", s->path);
}

static enum tg_code file_size(const char *path, int64_t *size, struct tg_error *err)
{
    struct stat st = {0};
    TG_ENSURE(stat(path, &st) == 0 || errno == ENOENT, err, TG_UNAVAILABLE, "%s cannot be read: %s", path,
              strerror(errno));
    *size = st.st_size;
    return TG_OK;
}

/* Every page is in the file or in the log. */
static enum tg_code check_size(struct sqlite *s, int64_t *size, struct tg_error *err)
{
    char log[4096];
    int64_t page = 0;
    int64_t pages = 0;
    int64_t log_size = 0;
    snprintf(log, sizeof log, "%s-wal", s->path);
    TG_TRY(sql_number(s, "PRAGMA page_size", &page, err));
    TG_TRY(sql_number(s, "PRAGMA page_count", &pages, err));
    TG_TRY(file_size(s->path, size, err));
    TG_TRY(file_size(log, &log_size, err));
    TG_ENSURE(*size / page + log_size / (page + WAL_FRAME_HEADER) >= pages, err, TG_DATA_LOSS,
              "%s is damaged (cut off: %lld bytes of %lld): restore it, nothing was changed", s->path,
              (long long)*size, (long long)(pages * page));
    return TG_OK;
}

static enum tg_code check_whole(struct sqlite *s, const char *pragma, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *check = NULL;
    TG_TRY(sql_get(s, pragma, &check, err));
    bool row;
    TG_TRY(sql_step(s, check, &row, err));
    char found[128] = "";
    bool whole = row && sql_column_text(check, 0, found, sizeof found) && sqlite3_stricmp(found, "ok") == 0;
    TG_ENSURE(whole, err, TG_DATA_LOSS, "%s is damaged (%s): restore it, nothing was changed", s->path,
              found);
    return TG_OK;
}

enum tg_code sqlite_check_start(struct sqlite *s, struct tg_error *err)
{
    char mark[4096];
    int64_t size = 0;
    mark_path(s, mark);
    TG_TRY(check_size(s, &size, err));
    if (access(mark, F_OK) == 0) { /* restored since? */
        TG_TRY(check_whole(s, "PRAGMA integrity_check(1)", err));
        unlink(mark);
    } else if (size <= CHECK_WHOLE_MAX) {
        TG_TRY(check_whole(s, "PRAGMA quick_check(1)", err));
    } else {
        s->check_table = 0; /* upkeep does it */
    }
    return TG_OK;
}

/* ---- while it serves ---- */

/* Reads each row through its table and finds it again through its indexes. Rows come as (seq, is it whole).
 */
#define FOUND_BY(table, index, column)                                                                       \
    "EXISTS (SELECT 1 FROM " table " x INDEXED BY " index " WHERE x." column " = t." column                  \
    " AND x.seq = t.seq)"
#define FOUND_BY_ID(table, id) "t.seq = (SELECT x.seq FROM " table " x WHERE x." id " = t." id ")"
#define PAGE(table, whole) "SELECT t.seq, " whole " FROM " table " t WHERE t.seq > ?1 ORDER BY t.seq LIMIT ?2"

static const char *const pages[] = {
    PAGE("qkuds", FOUND_BY_ID("qkuds", "id")),
    PAGE("shields", FOUND_BY_ID("shields", "id")),
    PAGE("fills", FOUND_BY_ID("fills", "id") " AND " FOUND_BY_ID("fills", "request_id")),
    PAGE("keys",
         FOUND_BY_ID("keys", "key_id") " AND " FOUND_BY("keys", "keys_of_shield", "shield") " AND " FOUND_BY(
             "keys", "keys_of_fill", "fill") " AND (t.wrapped IS NOT NULL) = (t.state IN (0, 1))"
                                             " AND (t.kek IS NULL OR " FOUND_BY("keys", "keys_of_kek",
                                                                                "kek") ")"),
    PAGE("sae_keys", FOUND_BY_ID("sae_keys", "key_id")),
    PAGE("answers", "length(t.answer) > 0"),
};
enum { TABLES = sizeof pages / sizeof *pages };

static enum tg_code read_piece(struct sqlite *s, int *rows, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *page = NULL;
    TG_TRY(sql_get(s, pages[s->check_table], &page, err));
    sql_bind_number(page, 1, s->check_after);
    sql_bind_number(page, 2, CHECK_AT_ONCE);
    for (*rows = 0;; (*rows)++) {
        bool row;
        TG_TRY(sql_step(s, page, &row, err));
        if (!row)
            return TG_OK;
        s->check_after = sql_column_number(page, 0);
        if (sql_column_number(page, 1) != 1)
            return sqlite_damage_found(s, "an index does not agree with its table", err);
    }
}

enum tg_code sqlite_check_piece(struct sqlite *s, bool *more, struct tg_error *err)
{
    int rows = 0;
    if (s->check_table >= TABLES)
        return TG_OK;
    TG_TRY(read_piece(s, &rows, err));
    if (rows < CHECK_AT_ONCE) {
        s->check_table++;
        s->check_after = 0;
    }
    *more = *more || s->check_table < TABLES;
    if (s->check_table == TABLES)
        LOG(LOG_INFO, NULL, "database.checked");
    return TG_OK;
}

enum tg_code sqlite_damage_found(struct sqlite *s, const char *what, struct tg_error *err)
{
    char mark[4096];
    if (s->serving && !s->damaged) {
        s->damaged = true;
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* the file stays as it is */
        mark_path(s, mark);
        if (file_replace(mark, what, strlen(what), NULL) != TG_OK)
            LOG(LOG_WARNING, NULL, "database.not_marked", LOG_TEXT("file", mark));
    }
    return tg_fail(err, TG_DATA_LOSS,
                   "%s is damaged or no key database (%s): restore it, nothing was changed", s->path, what);
}

enum tg_code sqlite_check_health(const struct sqlite *s, struct tg_error *err)
{
    TG_ENSURE(!s->damaged, err, TG_DATA_LOSS,
              "%s was found damaged and is not written any more: stop, and restore it", s->path);
    return TG_OK;
}
