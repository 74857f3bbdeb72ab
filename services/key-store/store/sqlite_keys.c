/* Keys: found, spent, revoked, listed. */
#include <string.h>

#include "services/key-store/store/sqlite.h"

#define SQL(store) ((struct sqlite *)(store))

/* Columns 0 to 8, the same in every query of keys. */
#define KEY_COLUMNS                                                                                          \
    "k.seq, k.key_id, k.state, f.created_s, f.expires_s, k.spent_s, ifnull(q.id, ''), s.id, s.revoked_s"
#define KEY_TABLES                                                                                           \
    " FROM keys k JOIN fills f ON f.seq = k.fill JOIN shields s ON s.seq = k.shield"                         \
    " LEFT JOIN qkuds q ON q.seq = k.spent_by"

static bool read_key(sqlite3_stmt *row, struct store_key *out)
{
    uint64_t state = sql_column_number(row, 2);
    out->row = (int64_t)sql_column_number(row, 0);
    out->state = (enum key_state)state;
    out->created_s = sql_column_number(row, 3);
    out->expires_s = sql_column_number(row, 4);
    out->spent_s = sql_column_number(row, 5);
    out->shield.revoked = !sql_column_null(row, 8);
    return state < KEY_STATES && sql_column_blob(row, 1, out->key_id, sizeof out->key_id) &&
           sql_column_text(row, 6, out->spent_by, sizeof out->spent_by) &&
           sql_column_text(row, 7, out->shield.id, sizeof out->shield.id);
}

/* What only spending needs: columns 9 to 14. */
static bool read_key_whole(sqlite3_stmt *row, struct store_key *out)
{
    return read_key(row, out) && sql_column_key(row, 9, &out->key) &&
           (sql_column_null(row, 12) || sql_column_blob(row, 12, out->request_id, sizeof out->request_id)) &&
           sql_column_text(row, 13, out->shield.owner, sizeof out->shield.owner) &&
           sql_column_text(row, 14, out->shield.policy, sizeof out->shield.policy);
}

enum tg_code sqlite_key_find(struct store *store, const uint8_t key_id[TICKET_KEY_ID_LEN],
                             struct store_key *out, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s,
                   "SELECT " KEY_COLUMNS
                   ", k.kek, k.wrapped, k.sealed, k.request_id, s.owner, s.policy" KEY_TABLES
                   " WHERE k.key_id = ?1",
                   &find, err));
    sql_bind_blob(find, 1, key_id, TICKET_KEY_ID_LEN);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    bool good = read_key_whole(find, out) && memcmp(out->key_id, key_id, TICKET_KEY_ID_LEN) == 0;
    return good ? TG_OK : sql_damaged(s, err);
}

static enum tg_code keep_answer(struct sqlite *s, int64_t key, const struct store_spend *spend, uint64_t *seq,
                                struct tg_error *err)
{
    TG_INVARIANT(spend->answer_len <= STORE_ANSWER_MAX);
    TG_CLEANUP(sql_done) sqlite3_stmt *keep = NULL;
    TG_TRY(sql_get(s, "INSERT INTO answers (key, made_s, answer) VALUES (?1, ?2, ?3)", &keep, err));
    sql_bind_number(keep, 1, (uint64_t)key);
    sql_bind_number(keep, 2, spend->now_s);
    sql_bind_blob(keep, 3, spend->answer, spend->answer_len);
    TG_TRY(sql_run(s, keep, err));
    *seq = (uint64_t)sqlite3_last_insert_rowid(s->db);
    return TG_OK;
}

enum tg_code sqlite_key_spend(struct store *store, const struct store_key *key,
                              const struct store_spend *spend, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    uint64_t answer = 0;
    TG_TRY(keep_answer(s, key->row, spend, &answer, err));
    TG_CLEANUP(sql_done) sqlite3_stmt *update = NULL;
    TG_TRY(sql_get(s,
                   "UPDATE keys SET state = 2, kek = NULL, wrapped = NULL, sealed = NULL, spent_s = ?2,"
                   " spent_by = (SELECT seq FROM qkuds WHERE id = ?3), request_id = ?4, answer = ?5"
                   " WHERE seq = ?1 AND state = 1",
                   &update, err));
    sql_bind_number(update, 1, (uint64_t)key->row);
    sql_bind_number(update, 2, spend->now_s);
    sql_bind_text(update, 3, spend->qkud_id);
    sql_bind_blob(update, 4, spend->request_id, REQUEST_ID_LEN);
    sql_bind_number(update, 5, answer);
    TG_TRY(sql_run(s, update, err));
    TG_ENSURE(sqlite3_changes(s->db) == 1, err, TG_ABORTED, "the key is not ready any more");
    sql_destroyed(s);
    return TG_OK;
}

enum tg_code sqlite_key_answer(struct store *store, const struct store_key *key, uint64_t since_s,
                               uint8_t out[STORE_ANSWER_MAX], size_t *len, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s,
                   "SELECT a.answer FROM answers a JOIN keys k ON k.answer = a.seq AND k.seq = a.key"
                   " WHERE k.seq = ?1 AND a.made_s >= ?2",
                   &find, err));
    sql_bind_number(find, 1, (uint64_t)key->row);
    sql_bind_number(find, 2, since_s);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    if (!row)
        return TG_NOT_FOUND;
    const void *answer = sqlite3_column_blob(find, 0);
    size_t have = (size_t)sqlite3_column_bytes(find, 0);
    if (answer == NULL || have > STORE_ANSWER_MAX)
        return sql_damaged(s, err);
    memcpy(out, answer, have);
    *len = have;
    return TG_OK;
}

enum tg_code sqlite_key_revoke(struct store *store, const struct store_key *key, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *revoke = NULL;
    TG_TRY(sql_get(s,
                   "UPDATE keys SET state = 3, kek = NULL, wrapped = NULL, sealed = NULL"
                   " WHERE seq = ?1 AND state IN (0, 1)",
                   &revoke, err));
    sql_bind_number(revoke, 1, (uint64_t)key->row);
    sql_destroyed(s);
    return sql_run(s, revoke, err);
}

/* ---- lists ---- */

static enum tg_code row_of(struct sqlite *s, const uint8_t key_id[TICKET_KEY_ID_LEN], uint64_t *seq,
                           struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *find = NULL;
    TG_TRY(sql_get(s, "SELECT seq FROM keys WHERE key_id = ?1", &find, err));
    sql_bind_blob(find, 1, key_id, TICKET_KEY_ID_LEN);
    bool row;
    TG_TRY(sql_step(s, find, &row, err));
    *seq = row ? sql_column_number(find, 0) : 0;
    return row ? TG_OK : TG_NOT_FOUND;
}

#define KEY_PAGE                                                                                             \
    " AND k.seq > ?1 AND (?2 < 0 OR k.state = ?2) AND (?5 = '' OR s.owner = ?5) AND (?6 = 0 OR f.expires_s " \
    "< ?6)"                                                                                                  \
    " ORDER BY k.seq LIMIT ?3"

enum tg_code sqlite_key_list(struct store *store, const struct store_key_filter *filter, size_t limit,
                             store_each_key *each, void *arg, struct tg_error *err)
{
    static const char all[] = "SELECT " KEY_COLUMNS KEY_TABLES " WHERE ?4 IS NOT NULL" KEY_PAGE;
    static const char of_shield[] =
        "SELECT " KEY_COLUMNS KEY_TABLES " WHERE k.shield = (SELECT seq FROM shields WHERE id = ?4)" KEY_PAGE;
    struct sqlite *s = SQL(store);
    uint64_t after = 0;
    if (filter->after_key_id != NULL)
        TG_TRY(row_of(s, filter->after_key_id, &after, err));
    TG_CLEANUP(sql_done) sqlite3_stmt *list = NULL;
    TG_TRY(sql_get(s, filter->shield_id[0] != '\0' ? of_shield : all, &list, err));
    sql_bind_number(list, 1, after);
    sqlite3_bind_int(list, 2, filter->state == KEY_STATES ? -1 : (int)filter->state);
    sql_bind_number(list, 3, limit);
    sql_bind_text(list, 4, filter->shield_id);
    sql_bind_text(list, 5, filter->owner != NULL ? filter->owner : "");
    sql_bind_number(list, 6, filter->expires_before_s);
    for (;;) {
        bool row;
        TG_TRY(sql_step(s, list, &row, err));
        if (!row)
            return TG_OK;
        struct store_key key = {0};
        if (!read_key(list, &key))
            return sql_damaged(s, err);
        each(arg, &key);
    }
}
