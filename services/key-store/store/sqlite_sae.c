/* Keys that pairs of SAEs share (ETSI GS QKD 014). */
#include "services/key-store/store/sqlite.h"

#define SQL(store) ((struct sqlite *)(store))

enum { EXPIRED_AT_ONCE = 1000 };

static enum tg_code add_one(struct sqlite *s, const struct store_sae_key *key, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *add = NULL;
    TG_TRY(sql_get(
        s,
        "INSERT INTO sae_keys (key_id, master, slave, bits, created_s, expires_s, kek, wrapped, sealed)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (key_id) DO NOTHING",
        &add, err));
    sql_bind_blob(add, 1, key->key_id, sizeof key->key_id);
    sql_bind_text(add, 2, key->master);
    sql_bind_text(add, 3, key->slave);
    sql_bind_number(add, 4, key->bits);
    sql_bind_number(add, 5, key->created_s);
    sql_bind_number(add, 6, key->expires_s);
    sql_bind_key(add, 7, &key->key);
    return sql_run(s, add, err);
}

enum tg_code sqlite_sae_key_add(struct store *store, const struct store_sae_key *keys, size_t count,
                                struct tg_error *err)
{
    for (size_t i = 0; i < count; i++)
        TG_TRY(add_one(SQL(store), &keys[i], err));
    return TG_OK;
}

static bool read_sae_key(sqlite3_stmt *row, struct store_sae_key *out)
{
    out->bits = (uint32_t)sql_column_number(row, 3);
    out->created_s = sql_column_number(row, 4);
    out->expires_s = sql_column_number(row, 5);
    return sql_column_blob(row, 0, out->key_id, sizeof out->key_id) &&
           sql_column_text(row, 1, out->master, sizeof out->master) &&
           sql_column_text(row, 2, out->slave, sizeof out->slave) && sql_column_key(row, 6, &out->key);
}

enum tg_code sqlite_sae_key_take(struct store *store, const uint8_t key_id[TICKET_KEY_ID_LEN],
                                 const char *master, const char *slave, struct store_sae_key *out,
                                 struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *take = NULL;
    TG_TRY(sql_get(s,
                   "DELETE FROM sae_keys WHERE key_id = ?1 AND master = ?2 AND slave = ?3"
                   " RETURNING key_id, master, slave, bits, created_s, expires_s, kek, wrapped, sealed",
                   &take, err));
    sql_bind_blob(take, 1, key_id, TICKET_KEY_ID_LEN);
    sql_bind_text(take, 2, master);
    sql_bind_text(take, 3, slave);
    bool row;
    TG_TRY(sql_step(s, take, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    sql_destroyed(s);
    return read_sae_key(take, out) ? TG_OK : sql_damaged(s, err);
}

enum tg_code sqlite_sae_key_count(struct store *store, const char *master, const char *slave, uint64_t *count,
                                  struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, "SELECT count(*) FROM sae_keys WHERE master = ?1 AND slave = ?2", &find, err));
    sql_bind_text(find, 1, master);
    sql_bind_text(find, 2, slave);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    *count = sql_column_number(find, 0);
    return TG_OK;
}

enum tg_code sqlite_sae_key_upkeep(struct sqlite *s, uint64_t now_s, bool *more, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *expire = NULL;
    TG_TRY(sql_get(
        s, "DELETE FROM sae_keys WHERE seq IN (SELECT seq FROM sae_keys WHERE expires_s <= ?1 LIMIT ?2)",
        &expire, err));
    sql_bind_number(expire, 1, now_s);
    sql_bind_number(expire, 2, EXPIRED_AT_ONCE);
    TG_TRY(sql_run(s, expire, err));
    int expired = sqlite3_changes(s->db);
    if (expired > 0)
        sql_destroyed(s);
    *more = *more || expired == EXPIRED_AT_ONCE;
    return TG_OK;
}
