/* What the disk and SQLite do on their own, one durable write after the other: figures of a shared machine
 * mean something only beside these. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/trace.h"
#include "tests/bench/spend.h"

enum { PAGE = 4096, ROWS = 20000 };

enum tg_code compare_fdatasync(const char *directory, uint32_t seconds, double *per_s, struct tg_error *err)
{
    char path[512];
    uint8_t page[PAGE] = {0};
    snprintf(path, sizeof path, "%s/compare.log", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    TG_ENSURE(fd >= 0, err, TG_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    uint64_t start = clock_now_ms();
    uint64_t now = start;
    unsigned count = 0;
    bool good = true;
    for (; good && now < start + 1000 * (uint64_t)seconds; now = clock_now_ms(), count++)
        good = write(fd, page, sizeof page) == (ssize_t)sizeof page && fdatasync(fd) == 0;
    close(fd);
    unlink(path);
    TG_ENSURE(good, err, TG_UNAVAILABLE, "%s cannot be written", path);
    *per_s = 1000.0 * count / (double)(now - start);
    return TG_OK;
}

/* Rows about as large as a key's, and one index. */
static const char make_rows[] =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = ON;"
    "CREATE TABLE keys (seq INTEGER PRIMARY KEY, key_id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, sealed "
    "BLOB);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    " INSERT INTO keys SELECT i, randomblob(16), 1, randomblob(112) FROM n;";

static bool update_rows(sqlite3 *db, uint32_t seconds, double *per_s)
{
    sqlite3_stmt *update = NULL;
    bool good =
        sqlite3_prepare_v2(db, "UPDATE keys SET state = 2, sealed = NULL WHERE seq = ?1 AND state = 1", -1,
                           &update, NULL) == SQLITE_OK;
    uint64_t start = clock_now_ms();
    uint64_t now = start;
    int count = 0;
    for (; good && count < ROWS && now < start + 1000 * (uint64_t)seconds; now = clock_now_ms(), count++) {
        sqlite3_bind_int(update, 1, count + 1);
        good = sqlite3_step(update) == SQLITE_DONE && sqlite3_reset(update) == SQLITE_OK;
    }
    sqlite3_finalize(update);
    *per_s = now > start ? 1000.0 * count / (double)(now - start) : 0;
    return good;
}

enum tg_code compare_sqlite(const char *directory, uint32_t seconds, double *per_s, struct tg_error *err)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char path[512];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/compare.db", directory);
    bool good = sqlite3_open(path, &db) == SQLITE_OK &&
                sqlite3_exec(db, make_rows, NULL, NULL, NULL) == SQLITE_OK && update_rows(db, seconds, per_s);
    char why[128];
    snprintf(why, sizeof why, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char file[528];
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        unlink(file);
    }
    TG_ENSURE(good, err, TG_UNAVAILABLE, "%s: %s", path, why);
    return TG_OK;
}
