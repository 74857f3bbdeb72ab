/* Fills, and what upkeep does to them and to answers. */
#include "services/key-store/store/sqlite.h"

#define SQL(store) ((struct sqlite *)(store))

enum upkeep_limits { ANSWERS_AT_ONCE = 4096 };

static enum tg_code request_known(struct sqlite *s, const uint8_t request_id[REQUEST_ID_LEN], bool *known,
                                  struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, "SELECT 1 FROM fills WHERE request_id = ?1", &find, err));
    sql_bind_blob(find, 1, request_id, REQUEST_ID_LEN);
    return sql_step(s, find, known, err);
}

static enum tg_code insert_fill(struct sqlite *s, const struct store_fill *fill, uint64_t *seq,
                                struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *add = NULL;
    TG_TRY(sql_get(s,
                   "INSERT INTO fills (id, request_id, shield, created_s, expires_s)"
                   " VALUES (?1, ?2, (SELECT seq FROM shields WHERE id = ?3), ?4, ?5)",
                   &add, err));
    sql_bind_blob(add, 1, fill->id, sizeof fill->id);
    sql_bind_blob(add, 2, fill->request_id, sizeof fill->request_id);
    sql_bind_text(add, 3, fill->shield_id);
    sql_bind_number(add, 4, fill->created_s);
    sql_bind_number(add, 5, fill->expires_s);
    TG_TRY(sql_run(s, add, err));
    *seq = (uint64_t)sqlite3_last_insert_rowid(s->db);
    return TG_OK;
}

static enum tg_code insert_key(struct sqlite *s, uint64_t fill, const struct store_new_key *key,
                               struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *add = NULL;
    TG_TRY(sql_get(s,
                   "INSERT INTO keys (key_id, shield, fill, state, kek, wrapped, sealed)"
                   " VALUES (?1, (SELECT shield FROM fills WHERE seq = ?2), ?2, 0, ?3, ?4, ?5)",
                   &add, err));
    sql_bind_blob(add, 1, key->key_id, sizeof key->key_id);
    sql_bind_number(add, 2, fill);
    sql_bind_key(add, 3, &key->key);
    return sql_run(s, add, err);
}

enum tg_code sqlite_fill_add(struct store *store, const struct store_fill *fill,
                             const struct store_new_key *keys, size_t count, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    bool known;
    TG_TRY(request_known(s, fill->request_id, &known, err));
    if (known)
        return TG_ALREADY_EXISTS;
    uint64_t seq = 0;
    TG_TRY(insert_fill(s, fill, &seq, err));
    for (size_t i = 0; i < count; i++)
        TG_TRY(insert_key(s, seq, &keys[i], err));
    return TG_OK;
}

enum tg_code sqlite_fill_find(struct store *store, const uint8_t id[STORE_FILL_ID_LEN],
                              struct store_fill *out, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s,
                   "SELECT f.seq, f.id, f.request_id, s.id, f.created_s, f.expires_s, f.confirmed_s, "
                   "f.ready, s.revoked_s"
                   " FROM fills f JOIN shields s ON s.seq = f.shield WHERE f.id = ?1",
                   &find, err));
    sql_bind_blob(find, 1, id, STORE_FILL_ID_LEN);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    out->row = (int64_t)sql_column_number(find, 0);
    out->created_s = sql_column_number(find, 4);
    out->expires_s = sql_column_number(find, 5);
    out->confirmed_s = sql_column_number(find, 6); /* NULL reads as 0 */
    out->ready = (uint32_t)sql_column_number(find, 7);
    out->shield_revoked = !sql_column_null(find, 8);
    bool good = sql_column_blob(find, 1, out->id, sizeof out->id) &&
                sql_column_blob(find, 2, out->request_id, sizeof out->request_id) &&
                sql_column_text(find, 3, out->shield_id, sizeof out->shield_id);
    return good ? TG_OK : sql_damaged(s, err);
}

enum tg_code sqlite_fill_confirm(struct store *store, struct store_fill *fill, uint64_t now_s,
                                 struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *ready = NULL;
    TG_TRY(sql_get(s, "UPDATE keys SET state = 1 WHERE fill = ?1 AND state = 0", &ready, err));
    sql_bind_number(ready, 1, (uint64_t)fill->row);
    TG_TRY(sql_run(s, ready, err));
    fill->confirmed_s = now_s;
    fill->ready = (uint32_t)sqlite3_changes(s->db);

    TG_CLEANUP(sql_done) sqlite3_stmt *confirm = NULL;
    TG_TRY(sql_get(s, "UPDATE fills SET confirmed_s = ?2, ready = ?3 WHERE seq = ?1", &confirm, err));
    sql_bind_number(confirm, 1, (uint64_t)fill->row);
    sql_bind_number(confirm, 2, now_s);
    sql_bind_number(confirm, 3, fill->ready);
    return sql_run(s, confirm, err);
}

/* ---- upkeep ---- */

static enum tg_code forget_answers(struct sqlite *s, const struct store_upkeep *upkeep, bool *more,
                                   struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *forget = NULL;
    TG_TRY(sql_get(s,
                   "DELETE FROM answers WHERE seq IN (SELECT seq FROM answers ORDER BY seq LIMIT ?3)"
                   " AND (made_s < ?1 OR made_s > ?2)",
                   &forget, err));
    sql_bind_number(forget, 1, upkeep->answers_before_s);
    sql_bind_number(forget, 2, upkeep->now_s);
    sql_bind_number(forget, 3, ANSWERS_AT_ONCE);
    TG_TRY(sql_run(s, forget, err));
    int forgotten = sqlite3_changes(s->db);
    if (forgotten > 0)
        sql_destroyed(s);
    *more = *more || forgotten == ANSWERS_AT_ONCE;
    return TG_OK;
}

/* The keys of one fill that nobody has spent: to `state`, destroyed; the fill is closed. */
static enum tg_code close_fill(struct sqlite *s, uint64_t fill, enum key_state state, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *keys = NULL;
    TG_TRY(sql_get(s,
                   "UPDATE keys SET state = ?2, kek = NULL, wrapped = NULL, sealed = NULL"
                   " WHERE fill = ?1 AND state IN (0, 1)",
                   &keys, err));
    sql_bind_number(keys, 1, fill);
    sql_bind_number(keys, 2, state);
    TG_TRY(sql_run(s, keys, err));
    sql_destroyed(s);

    TG_CLEANUP(sql_done) sqlite3_stmt *closed = NULL;
    TG_TRY(sql_get(s, "UPDATE fills SET closed = 1 WHERE seq = ?1", &closed, err));
    sql_bind_number(closed, 1, fill);
    return sql_run(s, closed, err);
}

/* Closes the first fill that `text` finds: one at a time, since a fill may hold a thousand keys and others
 * wait. */
static enum tg_code close_one(struct sqlite *s, const char *text, uint64_t time_s, enum key_state state,
                              bool *more, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, text, &find, err));
    sql_bind_number(find, 1, time_s);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_OK;
    *more = true;
    return close_fill(s, sql_column_number(find, 0), state, err);
}

enum tg_code sqlite_upkeep(struct store *store, const struct store_upkeep *upkeep, bool *more,
                           struct tg_error *err)
{
    static const char lapsed[] =
        "SELECT seq FROM fills WHERE closed = 0 AND confirmed_s IS NULL AND created_s < ?1 LIMIT 1";
    static const char expired[] = "SELECT seq FROM fills WHERE closed = 0 AND expires_s <= ?1 LIMIT 1";
    struct sqlite *s = SQL(store);
    *more = false;
    TG_TRY(forget_answers(s, upkeep, more, err));
    TG_TRY(close_one(s, lapsed, upkeep->fills_before_s, KEY_REVOKED, more, err));
    TG_TRY(close_one(s, expired, upkeep->now_s, KEY_EXPIRED, more, err));
    TG_TRY(sqlite_sae_key_upkeep(s, upkeep->now_s, more, err));
    return sqlite_check_piece(s, more, err);
}
