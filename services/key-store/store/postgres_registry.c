/* Notes, QKUDs and shields. */
#include <string.h>

#include "services/key-store/store/postgres.h"

enum tg_code postgres_note_find(struct store *s, const char *name, uint8_t out[STORE_NOTE_MAX], size_t *len,
                                struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, name);
    TG_TRY(pg_query(p, "SELECT value FROM notes WHERE name = $1", &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    return pg_column_bytes(rows, 0, 0, out, STORE_NOTE_MAX, len) ? TG_OK : pg_damaged(p, err);
}

enum tg_code postgres_note_set(struct store *s, const char *name, const void *value, size_t len,
                               struct tg_error *err)
{
    struct pg_args args = {0};
    TG_INVARIANT(len <= STORE_NOTE_MAX);
    pg_text(&args, name);
    pg_bytes(&args, value, len);
    return pg_change(postgres_of(s),
                     "INSERT INTO notes (name, value) VALUES ($1, $2)"
                     " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     &args, PG_ONE_ROW, err);
}

enum tg_code postgres_note_add(struct store *s, const char *name, const void *value, size_t len,
                               struct tg_error *err)
{
    struct pg_args args = {0};
    uint64_t added = 0;
    TG_INVARIANT(len <= STORE_NOTE_MAX);
    pg_text(&args, name);
    pg_bytes(&args, value, len);
    TG_TRY(pg_change_now(postgres_of(s),
                         "INSERT INTO notes (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                         &args, &added, err));
    return added == 1 ? TG_OK : TG_ALREADY_EXISTS;
}

/* ---- QKUDs ---- */

enum tg_code postgres_qkud_add(struct store *s, const struct store_qkud *qkud, struct tg_error *err)
{
    struct pg_args args = {0};
    uint64_t added = 0;
    pg_text(&args, qkud->id);
    pg_text(&args, qkud->description);
    pg_number(&args, qkud->created_s);
    pg_key(&args, &qkud->key);
    TG_TRY(pg_change_now(postgres_of(s),
                         "INSERT INTO qkuds (id, description, created_s, kek, wrapped, sealed)"
                         " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
                         &args, &added, err));
    return added == 1 ? TG_OK : TG_ALREADY_EXISTS;
}

static bool read_qkud(const PGresult *rows, int row, struct store_qkud *out)
{
    out->created_s = pg_column_number(rows, row, 2);
    out->revoked = !pg_column_null(rows, row, 3);
    return pg_column_text(rows, row, 0, out->id, sizeof out->id) &&
           pg_column_text(rows, row, 1, out->description, sizeof out->description);
}

/* Held against revocation until the transaction ends; found once for all items of it. */
enum tg_code postgres_qkud_find(struct store *s, const char *id, struct store_qkud *out, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    for (size_t i = 0; i < p->qkud_count; i++) {
        if (strcmp(p->qkuds[i].id, id) == 0) {
            *out = p->qkuds[i];
            return TG_OK;
        }
    }
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, id);
    TG_TRY(pg_query(p,
                    "SELECT id, description, created_s, revoked_s, kek, wrapped, sealed"
                    " FROM qkuds WHERE id = $1 FOR KEY SHARE",
                    &args, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    if (!read_qkud(rows, 0, out) || !pg_column_key(rows, 0, 4, &out->key))
        return pg_damaged(p, err);
    if (p->qkud_count < PG_QKUDS_MAX)
        p->qkuds[p->qkud_count++] = *out;
    return TG_OK;
}

enum tg_code postgres_qkud_revoke(struct store *s, const char *id, uint64_t now_s, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args find = {0};
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&find, id);
    TG_TRY(pg_query(p, "SELECT 1 FROM qkuds WHERE id = $1 FOR UPDATE", &find, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    postgres_forget(p);
    pg_text(&args, id);
    pg_number(&args, now_s);
    return pg_change(p,
                     "UPDATE qkuds SET revoked_s = $2, kek = NULL, wrapped = NULL, sealed = NULL"
                     " WHERE id = $1 AND revoked_s IS NULL",
                     &args, PG_DONE, err);
}

enum tg_code postgres_qkud_list(struct store *s, const char *after, size_t limit, store_each_qkud *each,
                                void *arg, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, after);
    pg_number(&args, limit);
    TG_TRY(pg_query(
        p, "SELECT id, description, created_s, revoked_s FROM qkuds WHERE id > $1 ORDER BY id LIMIT $2",
        &args, &rows, err));
    for (int i = 0; i < PQntuples(rows); i++) {
        struct store_qkud qkud = {0};
        if (!read_qkud(rows, i, &qkud))
            return pg_damaged(p, err);
        each(arg, &qkud);
    }
    return TG_OK;
}

/* ---- shields ---- */

/* Counted by an index that holds no more than what is counted. */
#define SHIELD_COLUMNS                                                                                       \
    "s.id, s.owner, s.policy, s.created_s, s.revoked_s,"                                                     \
    " (SELECT count(*) FROM keys k WHERE k.shield = s.id AND k.state = 0),"                                  \
    " (SELECT count(*) FROM keys k WHERE k.shield = s.id AND k.state = 1),"                                  \
    " (SELECT count(*) FROM keys k WHERE k.shield = s.id AND k.state = 2)"

enum tg_code postgres_shield_add(struct store *s, const struct store_shield *shield, struct tg_error *err)
{
    struct pg_args args = {0};
    uint64_t added = 0;
    pg_text(&args, shield->id);
    pg_text(&args, shield->owner);
    pg_text(&args, shield->policy);
    pg_number(&args, shield->created_s);
    TG_TRY(pg_change_now(postgres_of(s),
                         "INSERT INTO shields (id, owner, policy, created_s) VALUES ($1, $2, $3, $4)"
                         " ON CONFLICT (id) DO NOTHING",
                         &args, &added, err));
    return added == 1 ? TG_OK : TG_ALREADY_EXISTS;
}

static bool read_shield(const PGresult *rows, int row, struct store_shield *out)
{
    out->created_s = pg_column_number(rows, row, 3);
    out->revoked = !pg_column_null(rows, row, 4);
    out->made = (uint32_t)pg_column_number(rows, row, 5);
    out->ready = (uint32_t)pg_column_number(rows, row, 6);
    out->spent = (uint32_t)pg_column_number(rows, row, 7);
    return pg_column_text(rows, row, 0, out->id, sizeof out->id) &&
           pg_column_text(rows, row, 1, out->owner, sizeof out->owner) &&
           pg_column_text(rows, row, 2, out->policy, sizeof out->policy);
}

enum tg_code postgres_shield_find(struct store *s, const char *id, struct store_shield *out,
                                  struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, id);
    TG_TRY(pg_query(p, "SELECT " SHIELD_COLUMNS " FROM shields s WHERE s.id = $1 FOR KEY SHARE OF s", &args,
                    &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    return read_shield(rows, 0, out) ? TG_OK : pg_damaged(p, err);
}

enum tg_code postgres_shield_revoke(struct store *s, const char *id, uint64_t now_s, uint32_t *keys,
                                    struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args find = {0};
    struct pg_args args = {0};
    uint64_t revoked = 0;
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&find, id);
    TG_TRY(pg_query(p, "SELECT 1 FROM shields WHERE id = $1 FOR UPDATE", &find, &rows, err));
    if (PQntuples(rows) == 0)
        return TG_NOT_FOUND;
    postgres_forget(p);
    pg_text(&args, id);
    pg_number(&args, now_s);
    TG_TRY(pg_change(p, "UPDATE shields SET revoked_s = $2 WHERE id = $1 AND revoked_s IS NULL", &args,
                     PG_DONE, err));
    TG_TRY(pg_change_now(p,
                         "UPDATE keys SET state = 3, kek = NULL, wrapped = NULL, sealed = NULL"
                         " WHERE shield = $1 AND state IN (0, 1)",
                         &find, &revoked, err));
    *keys = (uint32_t)revoked;
    return TG_OK;
}

enum tg_code postgres_shield_list(struct store *s, const char *after, size_t limit, store_each_shield *each,
                                  void *arg, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_text(&args, after);
    pg_number(&args, limit);
    TG_TRY(pg_query(p, "SELECT " SHIELD_COLUMNS " FROM shields s WHERE s.id > $1 ORDER BY s.id LIMIT $2",
                    &args, &rows, err));
    for (int i = 0; i < PQntuples(rows); i++) {
        struct store_shield shield = {0};
        if (!read_shield(rows, i, &shield))
            return pg_damaged(p, err);
        each(arg, &shield);
    }
    return TG_OK;
}
