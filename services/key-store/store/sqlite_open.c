#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "services/key-store/store/sqlite.h"

enum { LOCK_WAIT_MS = 2000 /* for a predecessor that is just closing */ };

/* Before the file has been judged: nothing here may write to it, not even when it is closed. */
static enum tg_code look_only(struct sqlite *s, struct tg_error *err)
{
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return sql_fail(s, rc, err);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, LOCK_WAIT_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return sql_exec(s,
                    "PRAGMA locking_mode = EXCLUSIVE;" /* held until we end: one key store to a database */
                    "PRAGMA trusted_schema = OFF;"
                    "PRAGMA cell_size_check = ON;"
                    "PRAGMA temp_store = MEMORY;"
                    "PRAGMA cache_size = -65536;",
                    err);
}

static enum tg_code use_wal(struct sqlite *s, struct tg_error *err)
{
    char mode[16] = "";
    bool row;
    TG_CLEANUP(sql_done) sqlite3_stmt *statement = NULL;
    TG_TRY(sql_get(s, "PRAGMA journal_mode = WAL", &statement, err));
    TG_TRY(sql_step(s, statement, &row, err));
    TG_ENSURE(row && sql_column_text(statement, 0, mode, sizeof mode) && strcmp(mode, "wal") == 0, err,
              TG_FAILED_PRECONDITION, "%s cannot have a write-ahead log: put it on a local file system",
              s->path);
    return TG_OK;
}

/* Judged and found good: from here on it may be written. */
static enum tg_code settle(struct sqlite *s, struct tg_error *err)
{
    sqlite3_wal_hook(s->db, sqlite_count_wal_pages, s);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    TG_TRY(use_wal(s, err));
    return sql_exec(
        s,
        "PRAGMA synchronous = FULL;" /* NORMAL forgets commits in a power cut: a key spent twice */
        "PRAGMA secure_delete = ON;"
        "PRAGMA foreign_keys = ON;",
        err);
}

/* A transaction takes the lock for good, whether or not it changes anything. */
static enum tg_code in_transaction(struct sqlite *s, enum tg_code (*work)(struct sqlite *, struct tg_error *),
                                   struct tg_error *err)
{
    TG_TRY(sqlite_ops.begin(&s->base, err));
    enum tg_code code = work(s, err);
    if (code == TG_OK)
        return sqlite_ops.commit(&s->base, err);
    sqlite_ops.rollback(&s->base);
    return code;
}

/* A predecessor that was killed may have left transactions in the log that were never synced. They count from
 * now on, and whoever is answered from them must not lose them when the power fails next. */
static enum tg_code sync_log(struct sqlite *s, struct tg_error *err)
{
    sqlite3_file *log = NULL;
    int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (rc == SQLITE_OK && log != NULL && log->pMethods != NULL)
        rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? TG_OK : sql_fail(s, rc, err);
}

static enum tg_code sqlite_new(const char *path, struct sqlite **out, struct tg_error *err)
{
    struct sqlite *s = calloc(1, sizeof *s);
    char *copy = strdup(path);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory for %s", path);
    }
    s->base.ops = &sqlite_ops;
    s->path = copy;
    s->check_table = SQL_CHECKED;
    *out = s;
    return TG_OK;
}

static enum tg_code open_existing(struct sqlite *s, struct tg_error *err)
{
    TG_TRY(look_only(s, err));
    TG_TRY(sqlite_schema_check(s, err));
    TG_TRY(sqlite_check_start(s, err));
    TG_TRY(settle(s, err));
    TG_TRY(in_transaction(s, sqlite_schema_migrate, err));
    TG_TRY(sync_log(s, err));
    s->serving = true;
    return TG_OK;
}

static enum tg_code fill_new(const char *path, struct tg_error *err)
{
    struct sqlite *s = NULL;
    TG_TRY(sqlite_new(path, &s, err));
    enum tg_code code = look_only(s, err);
    if (code == TG_OK)
        code = settle(s, err);
    if (code == TG_OK)
        code = in_transaction(s, sqlite_schema_migrate, err);
    sqlite_close(s); /* moves everything from the log to the file */
    return code;
}

/* A new database gets its name when it is whole. So an empty file of that name is never taken for a first
 * start: it is what damage looks like. Two first starts at once: one of them makes it, both go on with that.
 */
static enum tg_code make_new(const char *path, struct tg_error *err)
{
    char temporary[4096];
    int len = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    TG_ENSURE(len > 0 && (size_t)len < sizeof temporary, err, TG_INVALID_ARGUMENT,
              "the path of the database is too long");
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600; SQLite would let the umask decide */
    TG_ENSURE(fd >= 0, err, errno == EACCES ? TG_PERMISSION_DENIED : TG_UNAVAILABLE,
              "%s cannot be made: %s (does its directory exist, and is it ours?)", path, strerror(errno));
    close(fd);
    enum tg_code code = fill_new(temporary, err);
    if (code == TG_OK && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) != 0 &&
        errno != EEXIST)
        code = tg_fail(err, TG_UNAVAILABLE, "%s cannot be made: %s", path, strerror(errno));
    unlink(temporary); /* still there only if something failed */
    return code == TG_OK ? file_sync_directory(path, err) : code;
}

static enum tg_code check_file(const char *path, struct tg_error *err)
{
    struct stat st;
    TG_ENSURE(stat(path, &st) == 0, err, TG_UNAVAILABLE, "%s cannot be opened: %s", path, strerror(errno));
    TG_ENSURE(S_ISREG(st.st_mode), err, TG_FAILED_PRECONDITION, "%s is not a regular file", path);
    TG_ENSURE((st.st_mode & 077) == 0, err, TG_PERMISSION_DENIED, "%s can be read by others: chmod 0600 %s",
              path, path);
    return TG_OK;
}

enum tg_code store_sqlite_open(const char *path, struct store **store, struct tg_error *err)
{
    if (access(path, F_OK) != 0 && errno == ENOENT)
        TG_TRY(make_new(path, err));
    TG_TRY(check_file(path, err));
    struct sqlite *s = NULL;
    TG_TRY(sqlite_new(path, &s, err));
    enum tg_code code = open_existing(s, err);
    if (code == TG_OK)
        *store = &s->base;
    else
        sqlite_close(s);
    return code;
}

enum tg_code store_memory_open(struct store **store, struct tg_error *err)
{
    struct sqlite *s = NULL;
    TG_TRY(sqlite_new(":memory:", &s, err));
    enum tg_code code = look_only(s, err);
    if (code == TG_OK)
        code = sql_exec(s, "PRAGMA foreign_keys = ON", err);
    if (code == TG_OK)
        code = in_transaction(s, sqlite_schema_migrate, err);
    if (code == TG_OK)
        *store = &s->base;
    else
        sqlite_close(s);
    return code;
}
