#include <string.h>

#include "common/trace.h"
#include "services/key-store/store/sqlite.h"

enum tg_code sql_fail(struct sqlite *s, int rc, struct tg_error *err)
{
    const char *why = s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return sqlite_damage_found(s, why, err);
    case SQLITE_BUSY:
        return tg_fail(err, TG_FAILED_PRECONDITION, "%s is in use by another key store: stop that one first",
                       s->path);
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
        return tg_fail(err, TG_INTERNAL, "%s: %s", s->path, why);
    default:
        return tg_fail(err, TG_UNAVAILABLE,
                       "%s cannot be read or written (%s): check disk space and the disk", s->path, why);
    }
}

enum tg_code sql_damaged(struct sqlite *s, struct tg_error *err)
{
    return tg_fail(err, TG_DATA_LOSS, "%s is damaged: a row holds a value of the wrong size", s->path);
}

enum tg_code sql_get(struct sqlite *s, const char *text, sqlite3_stmt **out, struct tg_error *err)
{
    struct sql_prepared *slot = s->prepared;
    while (slot->text != NULL && slot->text != text)
        slot++;
    TG_INVARIANT(slot < s->prepared + SQL_STATEMENTS_MAX - 1); /* the last one stays NULL */
    if (slot->text == NULL) {
        int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &slot->statement, NULL);
        if (rc != SQLITE_OK)
            return sql_fail(s, rc, err);
        slot->text = text;
    }
    *out = slot->statement;
    return TG_OK;
}

void sql_done(sqlite3_stmt **statement)
{
    if (*statement == NULL)
        return;
    sqlite3_reset(*statement);
    sqlite3_clear_bindings(*statement);
}

enum tg_code sql_step(struct sqlite *s, sqlite3_stmt *statement, bool *row, struct tg_error *err)
{
    int rc = sqlite3_step(statement);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? TG_OK : sql_fail(s, rc, err);
}

enum tg_code sql_run(struct sqlite *s, sqlite3_stmt *statement, struct tg_error *err)
{
    bool row;
    TG_TRY(sql_step(s, statement, &row, err));
    TG_INVARIANT(!row);
    return TG_OK;
}

enum tg_code sql_exec(struct sqlite *s, const char *text, struct tg_error *err)
{
    int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TG_OK : sql_fail(s, rc, err);
}

enum tg_code sql_number(struct sqlite *s, const char *text, int64_t *out, struct tg_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(s->db, text, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    enum tg_code code = rc == SQLITE_ROW ? TG_OK : sql_fail(s, rc, err);
    sqlite3_finalize(statement);
    return code;
}

void sql_bind_number(sqlite3_stmt *statement, int index, uint64_t value)
{
    TG_INVARIANT(value <= INT64_MAX);
    sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
}

void sql_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

void sql_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t len)
{
    sqlite3_bind_blob64(statement, index, bytes, len, SQLITE_STATIC);
}

bool sql_column_text(sqlite3_stmt *statement, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    size_t len = (size_t)sqlite3_column_bytes(statement, column);
    if (text == NULL || len >= size)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

bool sql_column_blob(sqlite3_stmt *statement, int column, void *out, size_t len)
{
    const void *blob = sqlite3_column_blob(statement, column);
    if (blob == NULL || (size_t)sqlite3_column_bytes(statement, column) != len)
        return false;
    memcpy(out, blob, len);
    return true;
}

uint64_t sql_column_number(sqlite3_stmt *statement, int column)
{
    return (uint64_t)sqlite3_column_int64(statement, column);
}

bool sql_column_null(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL;
}

void sql_bind_key(sqlite3_stmt *statement, int first, const struct at_rest *key)
{
    sql_bind_number(statement, first, key->kek);
    sql_bind_blob(statement, first + 1, key->wrapped, sizeof key->wrapped);
    sql_bind_blob(statement, first + 2, key->sealed, sizeof key->sealed);
}

bool sql_column_key(sqlite3_stmt *statement, int first, struct at_rest *key)
{
    key->kek = 0;
    if (sql_column_null(statement, first))
        return true;
    key->kek = (uint32_t)sql_column_number(statement, first);
    return sql_column_blob(statement, first + 1, key->wrapped, sizeof key->wrapped) &&
           sql_column_blob(statement, first + 2, key->sealed, sizeof key->sealed);
}

void sql_destroyed(struct sqlite *s)
{
    if (s->destroyed_ms == 0)
        s->destroyed_ms = clock_now_ms();
}
