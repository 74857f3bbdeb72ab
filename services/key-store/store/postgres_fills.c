/* Fills, and what upkeep does to them and to what else has had its time. Several key stores keep up one
 * database: each skips what another has in hand. */
#include "services/key-store/store/postgres.h"

enum upkeep_limits { AT_ONCE = 1000 };

static enum tg_code add_key(struct postgres *p, const struct store_fill *fill, uint64_t seq,
                            const struct store_new_key *key, struct tg_error *err)
{
    struct pg_args args = {0};
    pg_bytes(&args, key->key_id, sizeof key->key_id);
    pg_text(&args, fill->shield_id);
    pg_number(&args, seq);
    pg_key(&args, &key->key);
    return pg_change(p,
                     "INSERT INTO keys (key_id, shield, fill, state, kek, wrapped, sealed)"
                     " VALUES ($1, $2, $3, 0, $4, $5, $6)",
                     &args, PG_ONE_ROW, err);
}

/* NOT_FOUND: its request id is taken. */
static enum tg_code add_fill(struct postgres *p, const struct store_fill *fill, uint64_t *seq,
                             struct tg_error *err)
{
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_bytes(&args, fill->id, sizeof fill->id);
    pg_bytes(&args, fill->request_id, sizeof fill->request_id);
    pg_text(&args, fill->shield_id);
    pg_number(&args, fill->created_s);
    pg_number(&args, fill->expires_s);
    TG_TRY(pg_change_rows(p,
                          "INSERT INTO fills (id, request_id, shield, created_s, expires_s)"
                          " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (request_id) DO NOTHING RETURNING seq",
                          &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    *seq = pg_column_number(rows, 0, 0);
    return TG_OK;
}

enum tg_code postgres_fill_add(struct store *s, const struct store_fill *fill,
                               const struct store_new_key *keys, size_t count, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    uint64_t seq = 0;
    enum tg_code code = add_fill(p, fill, &seq, err);
    if (code != TG_OK)
        return code == TG_NOT_FOUND ? TG_ALREADY_EXISTS : code;
    for (size_t i = 0; i < count; i++)
        TG_TRY(add_key(p, fill, seq, &keys[i], err));
    return TG_OK;
}

enum tg_code postgres_fill_find(struct store *s, const uint8_t id[STORE_FILL_ID_LEN], struct store_fill *out,
                                struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_bytes(&args, id, STORE_FILL_ID_LEN);
    TG_TRY(
        pg_query(p,
                 "SELECT f.seq, f.id, f.request_id, s.id, f.created_s, f.expires_s, f.confirmed_s, f.ready,"
                 " s.revoked_s FROM fills f JOIN shields s ON s.id = f.shield WHERE f.id = $1"
                 " FOR UPDATE OF f",
                 &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    out->row = (int64_t)pg_column_number(rows, 0, 0);
    out->created_s = pg_column_number(rows, 0, 4);
    out->expires_s = pg_column_number(rows, 0, 5);
    out->confirmed_s = pg_column_number(rows, 0, 6);
    out->ready = (uint32_t)pg_column_number(rows, 0, 7);
    out->shield_revoked = !pg_column_null(rows, 0, 8);
    bool good = pg_column_blob(rows, 0, 1, out->id, sizeof out->id) &&
                pg_column_blob(rows, 0, 2, out->request_id, sizeof out->request_id) &&
                pg_column_text(rows, 0, 3, out->shield_id, sizeof out->shield_id);
    return good ? TG_OK : pg_damaged(p, err);
}

enum tg_code postgres_fill_confirm(struct store *s, struct store_fill *fill, uint64_t now_s,
                                   struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args keys = {0};
    struct pg_args args = {0};
    uint64_t ready = 0;
    pg_number(&keys, (uint64_t)fill->row);
    TG_TRY(pg_change_now(p, "UPDATE keys SET state = 1 WHERE fill = $1 AND state = 0", &keys, &ready, err));
    postgres_forget(p);
    fill->confirmed_s = now_s;
    fill->ready = (uint32_t)ready;
    pg_number(&args, (uint64_t)fill->row);
    pg_number(&args, now_s);
    pg_number(&args, ready);
    return pg_change(p, "UPDATE fills SET confirmed_s = $2, ready = $3 WHERE seq = $1", &args, PG_ONE_ROW,
                     err);
}

/* ---- upkeep ---- */

/* Another key store's clock may be ahead of ours: only what is further ahead than a whole window was left
 * there by a clock that was set back. */
static enum tg_code forget_answers(struct postgres *p, const struct store_upkeep *upkeep, bool *more,
                                   struct tg_error *err)
{
    struct pg_args args = {0};
    uint64_t forgotten = 0;
    pg_number(&args, upkeep->answers_before_s);
    pg_number(&args, upkeep->now_s + (upkeep->now_s - upkeep->answers_before_s));
    pg_number(&args, AT_ONCE);
    TG_TRY(pg_change_now(p,
                         "DELETE FROM answers WHERE key IN (SELECT key FROM answers"
                         " WHERE made_s < $1 OR made_s > $2 LIMIT $3 FOR UPDATE SKIP LOCKED)",
                         &args, &forgotten, err));
    *more = *more || forgotten == AT_ONCE;
    return TG_OK;
}

static enum tg_code close_fill(struct postgres *p, uint64_t fill, enum key_state state, struct tg_error *err)
{
    struct pg_args keys = {0};
    struct pg_args args = {0};
    pg_number(&keys, fill);
    pg_number(&keys, state);
    TG_TRY(pg_change(p,
                     "UPDATE keys SET state = $2, kek = NULL, wrapped = NULL, sealed = NULL"
                     " WHERE fill = $1 AND state IN (0, 1)",
                     &keys, PG_DONE, err));
    pg_number(&args, fill);
    return pg_change(p, "UPDATE fills SET closed = 1 WHERE seq = $1", &args, PG_ONE_ROW, err);
}

/* Closes the first fill that `text` finds: one at a time, since a fill may hold a thousand keys and others
 * wait. */
static enum tg_code close_one(struct postgres *p, const char *text, uint64_t time_s, enum key_state state,
                              bool *more, struct tg_error *err)
{
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_number(&args, time_s);
    TG_TRY(pg_query(p, text, &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_OK;
    *more = true;
    return close_fill(p, pg_column_number(rows, 0, 0), state, err);
}

static enum tg_code expire_sae_keys(struct postgres *p, uint64_t now_s, bool *more, struct tg_error *err)
{
    struct pg_args args = {0};
    uint64_t expired = 0;
    pg_number(&args, now_s);
    pg_number(&args, AT_ONCE);
    TG_TRY(pg_change_now(p,
                         "DELETE FROM sae_keys WHERE key_id IN (SELECT key_id FROM sae_keys"
                         " WHERE expires_s <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
                         &args, &expired, err));
    *more = *more || expired == AT_ONCE;
    return TG_OK;
}

enum tg_code postgres_upkeep(struct store *s, const struct store_upkeep *upkeep, bool *more,
                             struct tg_error *err)
{
    static const char lapsed[] =
        "SELECT seq FROM fills WHERE closed = 0 AND confirmed_s IS NULL AND created_s < $1"
        " LIMIT 1 FOR UPDATE SKIP LOCKED";
    static const char expired[] =
        "SELECT seq FROM fills WHERE closed = 0 AND expires_s <= $1 LIMIT 1 FOR UPDATE SKIP LOCKED";
    struct postgres *p = postgres_of(s);
    *more = false;
    postgres_forget(p);
    TG_TRY(forget_answers(p, upkeep, more, err));
    TG_TRY(close_one(p, lapsed, upkeep->fills_before_s, KEY_REVOKED, more, err));
    TG_TRY(close_one(p, expired, upkeep->now_s, KEY_EXPIRED, more, err));
    return expire_sae_keys(p, upkeep->now_s, more, err);
}
