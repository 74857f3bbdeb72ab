/* Keys: found, spent, revoked, listed. A key that is found is locked until the transaction ends: two key
 * stores cannot spend it both and, since a lock writes to the log, no commit that says "it is spent" goes by
 * before the standby has that spend (store_postgres.c). */
#include <stdlib.h>
#include <string.h>

#include "services/key-store/store/postgres.h"

/* Columns 0 to 8, the same in every query of keys. */
#define KEY_COLUMNS                                                                                          \
    "k.seq, k.key_id, k.state, f.created_s, f.expires_s, k.spent_s, coalesce(k.spent_by, ''), s.id, "        \
    "s.revoked_s"
#define KEY_TABLES " FROM keys k JOIN fills f ON f.seq = k.fill JOIN shields s ON s.id = k.shield"
#define WHOLE_KEY                                                                                            \
    "SELECT " KEY_COLUMNS ", k.kek, k.wrapped, k.sealed, k.request_id, s.owner, s.policy" KEY_TABLES

static bool read_key(const PGresult *rows, int row, struct store_key *out)
{
    uint64_t state = pg_column_number(rows, row, 2);
    out->row = (int64_t)pg_column_number(rows, row, 0);
    out->state = (enum key_state)state;
    out->created_s = pg_column_number(rows, row, 3);
    out->expires_s = pg_column_number(rows, row, 4);
    out->spent_s = pg_column_number(rows, row, 5);
    out->shield.revoked = !pg_column_null(rows, row, 8);
    return state < KEY_STATES && pg_column_blob(rows, row, 1, out->key_id, sizeof out->key_id) &&
           pg_column_text(rows, row, 6, out->spent_by, sizeof out->spent_by) &&
           pg_column_text(rows, row, 7, out->shield.id, sizeof out->shield.id);
}

/* What only spending needs: columns 9 to 14. */
static bool read_key_whole(const PGresult *rows, int row, struct store_key *out)
{
    return read_key(rows, row, out) && pg_column_key(rows, row, 9, &out->key) &&
           (pg_column_null(rows, row, 12) ||
            pg_column_blob(rows, row, 12, out->request_id, sizeof out->request_id)) &&
           pg_column_text(rows, row, 13, out->shield.owner, sizeof out->shield.owner) &&
           pg_column_text(rows, row, 14, out->shield.policy, sizeof out->shield.policy);
}

/* ---- what a transaction remembers ---- */

static struct store_key *remembered(struct postgres *p, const uint8_t key_id[TICKET_KEY_ID_LEN])
{
    for (size_t i = 0; i < p->key_count; i++)
        if (memcmp(p->keys[i].key_id, key_id, TICKET_KEY_ID_LEN) == 0)
            return &p->keys[i];
    return NULL;
}

static void forget(struct postgres *p, struct store_key *key)
{
    if (key != NULL)
        *key = p->keys[--p->key_count];
}

static enum tg_code remember(struct postgres *p, const PGresult *rows, struct tg_error *err)
{
    for (int i = 0; i < PQntuples(rows) && p->key_count < PG_KEYS_MAX; i++) {
        struct store_key *key = &p->keys[p->key_count];
        *key = (struct store_key){0};
        if (!read_key_whole(rows, i, key))
            return pg_damaged(p, err);
        p->key_count++;
    }
    return TG_OK;
}

/* An array of byte strings in PostgreSQL's binary form: dimensions, nulls, type; length and first index; then
 * each with its length. */
enum { BYTEA_OID = 17, ARRAY_HEAD = 20, ARRAY_ITEM = 4 + TICKET_KEY_ID_LEN };

static uint8_t *put(uint8_t *at, uint32_t number)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(number >> shift);
    return at;
}

static size_t key_array(const uint8_t *const *key_ids, size_t count, uint8_t *out)
{
    uint8_t *at = put(put(put(put(put(out, 1), 0), BYTEA_OID), (uint32_t)count), 1);
    for (size_t i = 0; i < count; i++) {
        at = put(at, TICKET_KEY_ID_LEN);
        memcpy(at, key_ids[i], TICKET_KEY_ID_LEN);
        at += TICKET_KEY_ID_LEN;
    }
    return (size_t)(at - out);
}

/* All of them in one round trip, locked in an order that is the same for everyone. */
enum tg_code postgres_keys_expected(struct store *s, const uint8_t *const *key_ids, size_t count,
                                    struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    uint8_t array[ARRAY_HEAD + PG_KEYS_MAX * ARRAY_ITEM];
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    if (count > PG_KEYS_MAX)
        count = PG_KEYS_MAX;
    pg_bytes(&args, array, key_array(key_ids, count, array));
    TG_TRY(pg_query(p, WHOLE_KEY " WHERE k.key_id = ANY($1::bytea[]) ORDER BY k.key_id FOR UPDATE OF k",
                    &args, &rows, err));
    return remember(p, rows, err);
}

/* ---- one key ---- */

enum tg_code postgres_key_find(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN],
                               struct store_key *out, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    const struct store_key *known = remembered(p, key_id);
    if (known != NULL) {
        *out = *known;
        return TG_OK;
    }
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_bytes(&args, key_id, TICKET_KEY_ID_LEN);
    TG_TRY(pg_query(p, WHOLE_KEY " WHERE k.key_id = $1 FOR UPDATE OF k", &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    if (!read_key_whole(rows, 0, out))
        return pg_damaged(p, err);
    return remember(p, rows, err);
}

static const char spend_it[] =
    "WITH spent AS (UPDATE keys SET state = 2, kek = NULL, wrapped = NULL, sealed = NULL, spent_s = $2,"
    " spent_by = $3, request_id = $4 WHERE seq = $1 AND state = 1 RETURNING seq)"
    " INSERT INTO answers (key, made_s, answer) SELECT seq, $2::bigint, $5::bytea FROM spent";

enum tg_code postgres_key_spend(struct store *s, const struct store_key *key, const struct store_spend *spend,
                                struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    uint64_t rows = 0;
    struct store_key *known = remembered(p, key->key_id);
    bool ready = known != NULL && known->state == KEY_READY; /* and locked: the change cannot miss it */
    TG_INVARIANT(spend->answer_len <= STORE_ANSWER_MAX);
    forget(p, known);
    pg_number(&args, (uint64_t)key->row);
    pg_number(&args, spend->now_s);
    pg_text(&args, spend->qkud_id);
    pg_bytes(&args, spend->request_id, REQUEST_ID_LEN);
    pg_bytes(&args, spend->answer, spend->answer_len);
    if (ready) {
        pg_change_for_good(p); /* nobody refuses after this; a savepoint would cost as much as the change */
        return pg_change(p, spend_it, &args, PG_ONE_ROW, err);
    }
    TG_TRY(pg_change_now(p, spend_it, &args, &rows, err));
    TG_ENSURE(rows == 1, err, TG_ABORTED, "the key is not ready any more");
    return TG_OK;
}

enum tg_code postgres_key_answer(struct store *s, const struct store_key *key, uint64_t since_s,
                                 uint8_t out[STORE_ANSWER_MAX], size_t *len, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_number(&args, (uint64_t)key->row);
    pg_number(&args, since_s);
    TG_TRY(pg_query(p, "SELECT answer FROM answers WHERE key = $1 AND made_s >= $2", &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    return pg_column_bytes(rows, 0, 0, out, STORE_ANSWER_MAX, len) ? TG_OK : pg_damaged(p, err);
}

enum tg_code postgres_key_revoke(struct store *s, const struct store_key *key, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    forget(p, remembered(p, key->key_id));
    pg_number(&args, (uint64_t)key->row);
    return pg_change(p,
                     "UPDATE keys SET state = 3, kek = NULL, wrapped = NULL, sealed = NULL"
                     " WHERE seq = $1 AND state IN (0, 1)",
                     &args, PG_DONE, err);
}

/* ---- lists ---- */

static enum tg_code row_of(struct postgres *p, const uint8_t key_id[TICKET_KEY_ID_LEN], uint64_t *seq,
                           struct tg_error *err)
{
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_bytes(&args, key_id, TICKET_KEY_ID_LEN);
    TG_TRY(pg_query(p, "SELECT seq FROM keys WHERE key_id = $1", &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    *seq = pg_column_number(rows, 0, 0);
    return TG_OK;
}

#define KEY_PAGE                                                                                             \
    " AND k.seq > $1 AND ($2::bigint = 5 OR k.state = $2) AND ($5::text = '' OR s.owner = $5)"               \
    " AND ($6::bigint = 0 OR f.expires_s < $6) ORDER BY k.seq LIMIT $3"

enum tg_code postgres_key_list(struct store *s, const struct store_key_filter *filter, size_t limit,
                               store_each_key *each, void *arg, struct tg_error *err)
{
    static const char all[] = "SELECT " KEY_COLUMNS KEY_TABLES " WHERE $4::text IS NOT NULL" KEY_PAGE;
    static const char of_shield[] = "SELECT " KEY_COLUMNS KEY_TABLES " WHERE k.shield = $4" KEY_PAGE;
    _Static_assert(KEY_STATES == 5, "stands in KEY_PAGE for all states");
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    uint64_t after = 0;
    if (filter->after_key_id != NULL)
        TG_TRY(row_of(p, filter->after_key_id, &after, err));
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_number(&args, after);
    pg_number(&args, filter->state);
    pg_number(&args, limit);
    pg_text(&args, filter->shield_id);
    pg_text(&args, filter->owner != NULL ? filter->owner : "");
    pg_number(&args, filter->expires_before_s);
    TG_TRY(pg_query(p, filter->shield_id[0] != '\0' ? of_shield : all, &args, &rows, err));
    for (int i = 0; i < PQntuples(rows); i++) {
        struct store_key key = {0};
        if (!read_key(rows, i, &key))
            return pg_damaged(p, err);
        each(arg, &key);
    }
    return TG_OK;
}
