/* Keys at rest, whatever they are for, by the KEK under which they lie. */
#include "services/key-store/store/postgres.h"

/* Two ranges and no <>, so that an index finds the few that are left among the many that are done. */
#define LIST(table, id)                                                                                      \
    "SELECT " id ", kek, wrapped, sealed FROM " table " WHERE kek < $1"                                      \
    " UNION ALL SELECT " id ", kek, wrapped, sealed FROM " table " WHERE kek > $1 LIMIT $2"
#define SET(table, id, value)                                                                                \
    "UPDATE " table " SET kek = $2, wrapped = $3 WHERE " id " = " value " AND kek = $4 AND wrapped = $5"
#define COUNT(table) "SELECT count(*) FROM " table " WHERE kek = $1"

static const struct at_rest_table {
    enum at_rest_kind kind;
    const char *list, *set, *count;
} tables[] = {
    {AT_REST_QKUD_KEY, LIST("qkuds", "convert_to(id, 'UTF8')"),
     SET("qkuds", "id", "convert_from($1::bytea, 'UTF8')"), COUNT("qkuds")},
    {AT_REST_QUANTUM_KEY, LIST("keys", "key_id"), SET("keys", "key_id", "$1"), COUNT("keys")},
    {AT_REST_SAE_KEY, LIST("sae_keys", "key_id"), SET("sae_keys", "key_id", "$1"), COUNT("sae_keys")},
};
enum { TABLES = sizeof tables / sizeof *tables };

static enum tg_code list_table(struct postgres *p, const struct at_rest_table *table, uint32_t kek,
                               size_t *limit, store_each_at_rest *each, void *arg, struct tg_error *err)
{
    struct pg_args args = {0};
    TG_CLEANUP(pg_done) PGresult *rows = NULL;
    pg_number(&args, kek);
    pg_number(&args, *limit);
    TG_TRY(pg_query(p, table->list, &args, &rows, err));
    for (int i = 0; i < PQntuples(rows); i++) {
        struct store_at_rest found = {.kind = table->kind};
        if (!pg_column_bytes(rows, i, 0, found.id, sizeof found.id, &found.id_len) ||
            !pg_column_key(rows, i, 1, &found.key))
            return pg_damaged(p, err);
        (*limit)--;
        each(arg, &found);
    }
    return TG_OK;
}

enum tg_code postgres_rewrap_list(struct store *s, uint32_t kek, size_t limit, store_each_at_rest *each,
                                  void *arg, struct tg_error *err)
{
    for (size_t i = 0; i < TABLES && limit > 0; i++)
        TG_TRY(list_table(postgres_of(s), &tables[i], kek, &limit, each, arg, err));
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

enum tg_code postgres_rewrap_set(struct store *s, enum at_rest_kind kind, const void *id, size_t id_len,
                                 const struct at_rest *before, const struct at_rest *after,
                                 struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    struct pg_args args = {0};
    uint64_t rows = 0;
    pg_bytes(&args, id, id_len);
    pg_number(&args, after->kek);
    pg_bytes(&args, after->wrapped, sizeof after->wrapped);
    pg_number(&args, before->kek);
    pg_bytes(&args, before->wrapped, sizeof before->wrapped);
    postgres_forget(p);
    TG_TRY(pg_change_now(p, table_of(kind)->set, &args, &rows, err));
    TG_ENSURE(rows == 1, err, TG_ABORTED, "the key is not what it was when it was read");
    return TG_OK;
}

enum tg_code postgres_kek_rows(struct store *s, uint32_t kek, uint64_t *rows, struct tg_error *err)
{
    *rows = 0;
    for (size_t i = 0; i < TABLES; i++) {
        struct pg_args args = {0};
        TG_CLEANUP(pg_done) PGresult *count = NULL;
        pg_number(&args, kek);
        TG_TRY(pg_query(postgres_of(s), tables[i].count, &args, &count, err));
        *rows += pg_column_number(count, 0, 0);
    }
    return TG_OK;
}
