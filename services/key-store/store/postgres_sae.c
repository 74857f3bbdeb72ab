/* Keys that pairs of SAEs share (ETSI GS QKD 014). */
#include "services/key-store/store/postgres.h"

static enum tg_code add_one(struct postgres *p, const struct store_sae_key *key, struct tg_error *err)
{
    struct pg_args args = {0};
    pg_bytes(&args, key->key_id, sizeof key->key_id);
    pg_text(&args, key->master);
    pg_text(&args, key->slave);
    pg_number(&args, key->bits);
    pg_number(&args, key->created_s);
    pg_number(&args, key->expires_s);
    pg_key(&args, &key->key);
    return pg_change(
        p,
        "INSERT INTO sae_keys (key_id, master, slave, bits, created_s, expires_s, kek, wrapped, sealed)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key_id) DO NOTHING",
        &args, PG_DONE, err);
}

enum tg_code postgres_sae_key_add(struct store *s, const struct store_sae_key *keys, size_t count,
                                  struct tg_error *err)
{
    for (size_t i = 0; i < count; i++)
        TG_TRY(add_one(postgres_of(s), &keys[i], err));
    return TG_OK;
}

static bool read_sae_key(const PGresult *rows, struct store_sae_key *out)
{
    out->bits = (uint32_t)pg_column_number(rows, 0, 3);
    out->created_s = pg_column_number(rows, 0, 4);
    out->expires_s = pg_column_number(rows, 0, 5);
    return pg_column_blob(rows, 0, 0, out->key_id, sizeof out->key_id) &&
           pg_column_text(rows, 0, 1, out->master, sizeof out->master) &&
           pg_column_text(rows, 0, 2, out->slave, sizeof out->slave) && pg_column_key(rows, 0, 6, &out->key);
}

enum tg_code postgres_sae_key_take(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN],
                                   const char *master, const char *slave, struct store_sae_key *out,
                                   struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_bytes(&args, key_id, TICKET_KEY_ID_LEN);
    pg_text(&args, master);
    pg_text(&args, slave);
    TG_TRY(
        pg_change_rows(p,
                       "DELETE FROM sae_keys WHERE key_id = $1 AND master = $2 AND slave = $3"
                       " RETURNING key_id, master, slave, bits, created_s, expires_s, kek, wrapped, sealed",
                       &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    return read_sae_key(rows, out) ? TG_OK : pg_damaged(p, err);
}

enum tg_code postgres_sae_key_count(struct store *s, const char *master, const char *slave, uint64_t *count,
                                    struct tg_error *err)
{
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, master);
    pg_text(&args, slave);
    TG_TRY(pg_query(postgres_of(s), "SELECT count(*) FROM sae_keys WHERE master = $1 AND slave = $2", &args,
                    &rows, err));
    *count = pg_column_number(rows, 0, 0);
    return TG_OK;
}
