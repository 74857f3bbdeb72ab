/* Keys at rest, whatever they are for, by the KEK under which they lie. */
#include <string.h>

#include "services/key-store/store/sqlite.h"

#define SQL(store) ((struct sqlite *)(store))

/* Two ranges and no <>, so that an index finds the few that are left among the many that are done. */
#define LIST(table, id)                                                                                      \
    "SELECT " id ", kek, wrapped, sealed FROM " table " WHERE kek < ?1"                                      \
    " UNION ALL SELECT " id ", kek, wrapped, sealed FROM " table " WHERE kek > ?1 LIMIT ?2"
#define SET(table, id, value)                                                                                \
    "UPDATE " table " SET kek = ?2, wrapped = ?3 WHERE " id " = " value " AND kek = ?4 AND wrapped = ?5"
#define COUNT(table) "SELECT count(*) FROM " table " WHERE kek = ?1"

static const struct at_rest_table {
    enum at_rest_kind kind;
    const char *list, *set, *count;
} tables[] = {
    {AT_REST_QKUD_KEY, LIST("qkuds", "id"), SET("qkuds", "id", "CAST(?1 AS TEXT)"), COUNT("qkuds")},
    {AT_REST_QUANTUM_KEY, LIST("keys", "key_id"), SET("keys", "key_id", "?1"), COUNT("keys")},
    {AT_REST_SAE_KEY, LIST("sae_keys", "key_id"), SET("sae_keys", "key_id", "?1"), COUNT("sae_keys")},
};
enum { TABLES = sizeof tables / sizeof *tables };

static bool read_at_rest(sqlite3_stmt *row, struct store_at_rest *out)
{
    const void *id = sqlite3_column_blob(row, 0);
    out->id_len = (size_t)sqlite3_column_bytes(row, 0);
    if (id == NULL || out->id_len > sizeof out->id)
        return false;
    memcpy(out->id, id, out->id_len);
    return sql_column_key(row, 1, &out->key);
}

static enum tg_code list_table(struct sqlite *s, const struct at_rest_table *table, uint32_t kek,
                               size_t *limit, store_each_at_rest *each, void *arg, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *list = NULL;
    TG_TRY(sql_get(s, table->list, &list, err));
    sql_bind_number(list, 1, kek);
    sql_bind_number(list, 2, *limit);
    for (;;) {
        bool row;
        TG_TRY(sql_step(s, list, &row, err));
        if (!row)
            return TG_OK;
        struct store_at_rest found = {.kind = table->kind};
        if (!read_at_rest(list, &found))
            return sql_damaged(s, err);
        (*limit)--;
        each(arg, &found);
    }
}

enum tg_code sqlite_rewrap_list(struct store *store, uint32_t kek, size_t limit, store_each_at_rest *each,
                                void *arg, struct tg_error *err)
{
    for (size_t i = 0; i < TABLES && limit > 0; i++)
        TG_TRY(list_table(SQL(store), &tables[i], kek, &limit, each, arg, err));
    return TG_OK;
}

static const struct at_rest_table *table_of(enum at_rest_kind kind)
{
    size_t i = 0;
    while (i < TABLES && tables[i].kind != kind)
        i++;
    TG_INVARIANT(i < TABLES);
    return &tables[i];
}

enum tg_code sqlite_rewrap_set(struct store *store, enum at_rest_kind kind, const void *id, size_t id_len,
                               const struct at_rest *before, const struct at_rest *after,
                               struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *set = NULL;
    TG_TRY(sql_get(s, table_of(kind)->set, &set, err));
    sql_bind_blob(set, 1, id, id_len);
    sql_bind_number(set, 2, after->kek);
    sql_bind_blob(set, 3, after->wrapped, sizeof after->wrapped);
    sql_bind_number(set, 4, before->kek);
    sql_bind_blob(set, 5, before->wrapped, sizeof before->wrapped);
    TG_TRY(sql_run(s, set, err));
    TG_ENSURE(sqlite3_changes(s->db) == 1, err, TG_ABORTED, "the key is not what it was when it was read");
    sql_destroyed(s);
    return TG_OK;
}

enum tg_code sqlite_kek_rows(struct store *store, uint32_t kek, uint64_t *rows, struct tg_error *err)
{
    struct sqlite *s = SQL(store);
    *rows = 0;
    for (size_t i = 0; i < TABLES; i++) {
        TG_CLEANUP(sql_done) sqlite3_stmt *count = NULL;
        TG_TRY(sql_get(s, tables[i].count, &count, err));
        sql_bind_number(count, 1, kek);
        bool row;
        TG_TRY(sql_step(s, count, &row, err));
        *rows += sql_column_number(count, 0);
    }
    return TG_OK;
}
