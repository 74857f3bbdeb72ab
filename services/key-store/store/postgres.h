/* Inside of the PostgreSQL backend only: what its files share.
 *
 * Everything is sent in libpq's pipeline mode. Reads are waited for; writes are not: their results are
 * checked when the next read or the commit waits. A write that went wrong therefore loses the whole
 * transaction, and the writer does its items again, one by one. */
#ifndef TG_KEY_STORE_POSTGRES_H
#define TG_KEY_STORE_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"
#include "services/key-store/store/store.h"

enum postgres_limits {
    PG_ARGS_MAX = 12,
    PG_STATEMENTS_MAX = 80,
    PG_PENDING_MAX = 512, /* sent and not yet checked */
    PG_KEYS_MAX = 256,    /* rows that a transaction has locked and remembers */
    PG_QKUDS_MAX = 16,
    PG_NAME_MAX = 128
};

/* What a statement must have done. */
enum pg_expect { PG_PREPARED, PG_DONE, PG_ONE_ROW, PG_ROWS };

/* How an item of the transaction could be undone. */
enum pg_item {
    PG_NO_ITEM,
    PG_CLEAN, /* it has written nothing */
    PG_SAVED, /* there is a savepoint before what it has written */
    PG_BARE   /* there is none */
};

struct postgres {
    struct store base; /* first: a struct store * is a struct postgres * */
    char *conninfo;
    struct secret *password; /* with a NUL at its end; NULL: none */
    char name[PG_NAME_MAX];  /* for messages */
    int wait_ms;             /* for any answer of the server */
    PGconn *conn;            /* NULL: lost, or not connected yet */
    uint64_t connect_after_ms;
    struct pg_prepared {
        const char *text; /* its address is the key */
        bool sent;
    } prepared[PG_STATEMENTS_MAX];
    struct pg_pending {
        enum pg_expect expect;
        unsigned slot;
    } pending[PG_PENDING_MAX];
    size_t pending_count;
    struct tg_error lost; /* why the transaction is lost; code OK: it is not */
    enum pg_item item;
    bool committing, warned;
    struct store_key keys[PG_KEYS_MAX]; /* locked by this transaction, and as they are */
    size_t key_count;
    struct store_qkud qkuds[PG_QKUDS_MAX];
    size_t qkud_count;
};

static inline struct postgres *postgres_of(struct store *s)
{
    return (struct postgres *)s;
}

/* ---- postgres_connect.c ---- */

/* A connection, if there is none yet. UNAVAILABLE. */
enum tg_code pg_connect(struct postgres *p, struct tg_error *err) TG_MUST_CHECK;
/* Gives the connection up, and with it what has been sent and not been answered. */
void pg_drop(struct postgres *p);
/* What the newest error of the connection means, with the database's name. The connection is given up. */
enum tg_code pg_broken(struct postgres *p, struct tg_error *err);

/* ---- postgres_sql.c: statements ---- */

struct pg_args {
    int count;
    const char *values[PG_ARGS_MAX];
    int lengths[PG_ARGS_MAX];
    uint8_t numbers[PG_ARGS_MAX][8];
};
/* Borrowed until the statement is sent. */
void pg_number(struct pg_args *args, uint64_t value);
void pg_text(struct pg_args *args, const char *text);
void pg_bytes(struct pg_args *args, const void *bytes, size_t len);
void pg_key(struct pg_args *args, const struct at_rest *key); /* three: kek, wrapped, sealed */

/* Sends a SQL text that has static storage, prepared the first time; its result is checked later. */
enum tg_code pg_send(struct postgres *p, const char *text, const struct pg_args *args, enum pg_expect expect,
                     struct tg_error *err) TG_MUST_CHECK;
/* Notes that the item changes something that nothing undoes but the end of the transaction. */
void pg_change_for_good(struct postgres *p);
/* Sends a change, after what lets its item be undone. */
enum tg_code pg_change(struct postgres *p, const char *text, const struct pg_args *args,
                       enum pg_expect expect, struct tg_error *err) TG_MUST_CHECK;
/* The same, and waits: *rows says how many it changed. */
enum tg_code pg_change_now(struct postgres *p, const char *text, const struct pg_args *args, uint64_t *rows,
                           struct tg_error *err) TG_MUST_CHECK;
/* The same, and gives the rows that it returns, for pg_done. */
enum tg_code pg_change_rows(struct postgres *p, const char *text, const struct pg_args *args, PGresult **rows,
                            struct tg_error *err) TG_MUST_CHECK;
/* Sends a read, waits, and gives the rows, for pg_done. */
enum tg_code pg_query(struct postgres *p, const char *text, const struct pg_args *args, PGresult **rows,
                      struct tg_error *err) TG_MUST_CHECK;
/* Waits for all that was sent. `rows`: the last result, for pg_done, or NULL. `sync`: ends a pipeline. */
enum tg_code pg_collect(struct postgres *p, bool sync, PGresult **rows, struct tg_error *err) TG_MUST_CHECK;
/* For TG_CLEANUP. */
void pg_done(PGresult **rows);
/* Notes that the transaction is lost; gives its code. */
enum tg_code pg_lose(struct postgres *p, struct tg_error *err);

/* Columns of rows: false when the value is not of that size, which only damage can cause. */
uint64_t pg_column_number(const PGresult *rows, int row, int column); /* NULL reads as 0 */
bool pg_column_null(const PGresult *rows, int row, int column);
bool pg_column_text(const PGresult *rows, int row, int column, char *out, size_t size);
bool pg_column_blob(const PGresult *rows, int row, int column, void *out, size_t len);
bool pg_column_key(const PGresult *rows, int row, int first, struct at_rest *key);
/* Of at most `max` bytes. */
bool pg_column_bytes(const PGresult *rows, int row, int column, void *out, size_t max, size_t *len);
enum tg_code pg_damaged(struct postgres *p, struct tg_error *err);

/* ---- postgres_schema.c ---- */

/* Makes the schema or brings an older one forward, in one transaction. FAILED_PRECONDITION: a newer one. */
enum tg_code postgres_schema_open(struct postgres *p, struct tg_error *err) TG_MUST_CHECK;

/* ---- store_postgres.c ---- */

extern const struct store_ops postgres_ops;
/* Rows that this transaction remembers may have changed. */
void postgres_forget(struct postgres *p);

/* ---- the rest of struct store_ops, by table ---- */

/* postgres_registry.c */
enum tg_code postgres_note_find(struct store *s, const char *name, uint8_t out[STORE_NOTE_MAX], size_t *len,
                                struct tg_error *err);
enum tg_code postgres_note_set(struct store *s, const char *name, const void *value, size_t len,
                               struct tg_error *err);
enum tg_code postgres_note_add(struct store *s, const char *name, const void *value, size_t len,
                               struct tg_error *err);
enum tg_code postgres_qkud_add(struct store *s, const struct store_qkud *qkud, struct tg_error *err);
enum tg_code postgres_qkud_find(struct store *s, const char *id, struct store_qkud *out,
                                struct tg_error *err);
enum tg_code postgres_qkud_revoke(struct store *s, const char *id, uint64_t now_s, struct tg_error *err);
enum tg_code postgres_qkud_list(struct store *s, const char *after, size_t limit, store_each_qkud *each,
                                void *arg, struct tg_error *err);
enum tg_code postgres_shield_add(struct store *s, const struct store_shield *shield, struct tg_error *err);
enum tg_code postgres_shield_find(struct store *s, const char *id, struct store_shield *out,
                                  struct tg_error *err);
enum tg_code postgres_shield_revoke(struct store *s, const char *id, uint64_t now_s, uint32_t *keys,
                                    struct tg_error *err);
enum tg_code postgres_shield_list(struct store *s, const char *after, size_t limit, store_each_shield *each,
                                  void *arg, struct tg_error *err);
/* postgres_fills.c */
enum tg_code postgres_fill_add(struct store *s, const struct store_fill *fill,
                               const struct store_new_key *keys, size_t count, struct tg_error *err);
enum tg_code postgres_fill_find(struct store *s, const uint8_t id[STORE_FILL_ID_LEN], struct store_fill *out,
                                struct tg_error *err);
enum tg_code postgres_fill_confirm(struct store *s, struct store_fill *fill, uint64_t now_s,
                                   struct tg_error *err);
enum tg_code postgres_upkeep(struct store *s, const struct store_upkeep *upkeep, bool *more,
                             struct tg_error *err);
/* postgres_keys.c */
enum tg_code postgres_keys_expected(struct store *s, const uint8_t *const *key_ids, size_t count,
                                    struct tg_error *err);
enum tg_code postgres_key_find(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN],
                               struct store_key *out, struct tg_error *err);
enum tg_code postgres_key_spend(struct store *s, const struct store_key *key, const struct store_spend *spend,
                                struct tg_error *err);
enum tg_code postgres_key_answer(struct store *s, const struct store_key *key, uint64_t since_s,
                                 uint8_t out[STORE_ANSWER_MAX], size_t *len, struct tg_error *err);
enum tg_code postgres_key_revoke(struct store *s, const struct store_key *key, struct tg_error *err);
enum tg_code postgres_key_list(struct store *s, const struct store_key_filter *filter, size_t limit,
                               store_each_key *each, void *arg, struct tg_error *err);
/* postgres_sae.c */
enum tg_code postgres_sae_key_add(struct store *s, const struct store_sae_key *keys, size_t count,
                                  struct tg_error *err);
enum tg_code postgres_sae_key_take(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN],
                                   const char *master, const char *slave, struct store_sae_key *out,
                                   struct tg_error *err);
enum tg_code postgres_sae_key_count(struct store *s, const char *master, const char *slave, uint64_t *count,
                                    struct tg_error *err);
/* postgres_rewrap.c */
enum tg_code postgres_rewrap_list(struct store *s, uint32_t kek, size_t limit, store_each_at_rest *each,
                                  void *arg, struct tg_error *err);
enum tg_code postgres_rewrap_set(struct store *s, enum at_rest_kind kind, const void *id, size_t id_len,
                                 const struct at_rest *before, const struct at_rest *after,
                                 struct tg_error *err);
enum tg_code postgres_kek_rows(struct store *s, uint32_t kek, uint64_t *rows, struct tg_error *err);

#endif
