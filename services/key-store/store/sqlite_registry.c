/* Notes, QKUDs and shields. */
#include <string.h>

#include "services/key-store/store/sqlite.h"

#define SQL(store) ((struct sqlite *)(store))

enum tg_code sqlite_note_find(struct store *store, const char *name, uint8_t out[STORE_NOTE_MAX], size_t *len,
                              struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, "SELECT value FROM notes WHERE name = ?1", &find, err));
    sql_bind_text(find, 1, name);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    const void *value = sqlite3_column_blob(find, 0);
    size_t have = (size_t)sqlite3_column_bytes(find, 0);
    if (value == NULL || have > STORE_NOTE_MAX)
        return sql_damaged(s, err);
    memcpy(out, value, have);
    *len = have;
    return TG_OK;
}

enum tg_code sqlite_note_set(struct store *store, const char *name, const void *value, size_t len,
                             struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_INVARIANT(len <= STORE_NOTE_MAX);
    TG_CLEANUP(sql_done) sqlite3_stmt *set = NULL;
    TG_TRY(sql_get(s,
                   "INSERT INTO notes (name, value) VALUES (?1, ?2)"
                   " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                   &set, err));
    sql_bind_text(set, 1, name);
    sql_bind_blob(set, 2, value, len);
    return sql_run(s, set, err);
}

enum tg_code sqlite_note_add(struct store *store, const char *name, const void *value, size_t len,
                             struct tg_error *err)
{
    uint8_t kept[STORE_NOTE_MAX];
    size_t kept_len = 0;
    enum tg_code code = sqlite_note_find(store, name, kept, &kept_len, err);
    if (code != TG_NOT_FOUND)
        return code == TG_OK ? TG_ALREADY_EXISTS : code;
    return sqlite_note_set(store, name, value, len, err);
}

/* ---- QKUDs ---- */

static enum tg_code exists(struct sqlite *s, const char *text, const char *id, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, text, &find, err));
    sql_bind_text(find, 1, id);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    return row ? TG_OK : TG_NOT_FOUND;
}

static const char qkud_exists[] = "SELECT 1 FROM qkuds WHERE id = ?1";

enum tg_code sqlite_qkud_add(struct store *store, const struct store_qkud *qkud, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    enum tg_code code = exists(s, qkud_exists, qkud->id, err);
    if (code != TG_NOT_FOUND)
        return code == TG_OK ? TG_ALREADY_EXISTS : code;
    TG_CLEANUP(sql_done) sqlite3_stmt *add = NULL;
    TG_TRY(sql_get(s,
                   "INSERT INTO qkuds (id, description, created_s, kek, wrapped, sealed)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   &add, err));
    sql_bind_text(add, 1, qkud->id);
    sql_bind_text(add, 2, qkud->description);
    sql_bind_number(add, 3, qkud->created_s);
    sql_bind_key(add, 4, &qkud->key);
    return sql_run(s, add, err);
}

static bool read_qkud(sqlite3_stmt *row, struct store_qkud *out)
{
    out->created_s = sql_column_number(row, 2);
    out->revoked = !sql_column_null(row, 3);
    return sql_column_text(row, 0, out->id, sizeof out->id) &&
           sql_column_text(row, 1, out->description, sizeof out->description);
}

enum tg_code sqlite_qkud_find(struct store *store, const char *id, struct store_qkud *out,
                              struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(
        s, "SELECT id, description, created_s, revoked_s, kek, wrapped, sealed FROM qkuds WHERE id = ?1",
        &find, err));
    sql_bind_text(find, 1, id);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    return read_qkud(find, out) && sql_column_key(find, 4, &out->key) ? TG_OK : sql_damaged(s, err);
}

enum tg_code sqlite_qkud_revoke(struct store *store, const char *id, uint64_t now_s, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_TRY(exists(s, qkud_exists, id, err));
    TG_CLEANUP(sql_done) sqlite3_stmt *revoke = NULL;
    TG_TRY(sql_get(s,
                   "UPDATE qkuds SET revoked_s = ?2, kek = NULL, wrapped = NULL, sealed = NULL"
                   " WHERE id = ?1 AND revoked_s IS NULL",
                   &revoke, err));
    sql_bind_text(revoke, 1, id);
    sql_bind_number(revoke, 2, now_s);
    sql_destroyed(s);
    return sql_run(s, revoke, err);
}

enum tg_code sqlite_qkud_list(struct store *store, const char *after, size_t limit, store_each_qkud *each,
                              void *arg, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *list = NULL;
    TG_TRY(sql_get(
        s, "SELECT id, description, created_s, revoked_s FROM qkuds WHERE id > ?1 ORDER BY id LIMIT ?2",
        &list, err));
    sql_bind_text(list, 1, after);
    sql_bind_number(list, 2, limit);
    for (;;) {
        bool row;
        TG_TRY(sql_step(s, list, &row, err));
        if (!row)
            return TG_OK;
        struct store_qkud qkud = {0};
        if (!read_qkud(list, &qkud))
            return sql_damaged(s, err);
        each(arg, &qkud);
    }
}

/* ---- shields ---- */

static const char shield_exists[] = "SELECT 1 FROM shields WHERE id = ?1";

enum tg_code sqlite_shield_add(struct store *store, const struct store_shield *shield, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    enum tg_code code = exists(s, shield_exists, shield->id, err);
    if (code != TG_NOT_FOUND)
        return code == TG_OK ? TG_ALREADY_EXISTS : code;
    TG_CLEANUP(sql_done) sqlite3_stmt *add = NULL;
    TG_TRY(
        sql_get(s, "INSERT INTO shields (id, owner, policy, created_s) VALUES (?1, ?2, ?3, ?4)", &add, err));
    sql_bind_text(add, 1, shield->id);
    sql_bind_text(add, 2, shield->owner);
    sql_bind_text(add, 3, shield->policy);
    sql_bind_number(add, 4, shield->created_s);
    return sql_run(s, add, err);
}

static bool read_shield(sqlite3_stmt *row, struct store_shield *out)
{
    out->created_s = sql_column_number(row, 3);
    out->revoked = !sql_column_null(row, 4);
    out->made = (uint32_t)sql_column_number(row, 5);
    out->ready = (uint32_t)sql_column_number(row, 6);
    out->spent = (uint32_t)sql_column_number(row, 7);
    return sql_column_text(row, 0, out->id, sizeof out->id) &&
           sql_column_text(row, 1, out->owner, sizeof out->owner) &&
           sql_column_text(row, 2, out->policy, sizeof out->policy);
}

enum tg_code sqlite_shield_find(struct store *store, const char *id, struct store_shield *out,
                                struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(
        s, "SELECT id, owner, policy, created_s, revoked_s, made, ready, spent FROM shields WHERE id = ?1",
        &find, err));
    sql_bind_text(find, 1, id);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    return read_shield(find, out) ? TG_OK : sql_damaged(s, err);
}

static enum tg_code revoke_keys_of(struct sqlite *s, const char *id, uint32_t *keys, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *revoke = NULL;
    TG_TRY(sql_get(s,
                   "UPDATE keys SET state = 3, kek = NULL, wrapped = NULL, sealed = NULL"
                   " WHERE shield = (SELECT seq FROM shields WHERE id = ?1) AND state IN (0, 1)",
                   &revoke, err));
    sql_bind_text(revoke, 1, id);
    TG_TRY(sql_run(s, revoke, err));
    *keys = (uint32_t)sqlite3_changes(s->db);
    return TG_OK;
}

enum tg_code sqlite_shield_revoke(struct store *store, const char *id, uint64_t now_s, uint32_t *keys,
                                  struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_TRY(exists(s, shield_exists, id, err));
    TG_CLEANUP(sql_done) sqlite3_stmt *revoke = NULL;
    TG_TRY(sql_get(s, "UPDATE shields SET revoked_s = ?2 WHERE id = ?1 AND revoked_s IS NULL", &revoke, err));
    sql_bind_text(revoke, 1, id);
    sql_bind_number(revoke, 2, now_s);
    TG_TRY(sql_run(s, revoke, err));
    sql_destroyed(s);
    return revoke_keys_of(s, id, keys, err);
}

enum tg_code sqlite_shield_list(struct store *store, const char *after, size_t limit, store_each_shield *each,
                                void *arg, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *list = NULL;
    TG_TRY(sql_get(s,
                   "SELECT id, owner, policy, created_s, revoked_s, made, ready, spent FROM shields"
                   " WHERE id > ?1 ORDER BY id LIMIT ?2",
                   &list, err));
    sql_bind_text(list, 1, after);
    sql_bind_number(list, 2, limit);
    for (;;) {
        bool row;
        TG_TRY(sql_step(s, list, &row, err));
        if (!row)
            return TG_OK;
        struct store_shield shield = {0};
        if (!read_shield(list, &shield))
            return sql_damaged(s, err);
        each(arg, &shield);
    }
}
