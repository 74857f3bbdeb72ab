/* Inside of the SQLite backend only: what its files share. */
#ifndef TG_KEY_STORE_SQLITE_H
#define TG_KEY_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "services/key-store/store/store.h"

enum { SQL_STATEMENTS_MAX = 64, SQL_CHECKED = 99 };

struct sqlite {
    struct store base; /* first: a struct store * is a struct sqlite * */
    sqlite3 *db;
    char *path;
    struct sql_prepared {
        const char *text; /* its address is the key */
        sqlite3_stmt *statement;
    } prepared[SQL_STATEMENTS_MAX];
    int wal_pages;         /* in the write-ahead log since it was last emptied */
    uint64_t destroyed_ms; /* since when the log may still hold destroyed keys; 0: it does not */
    bool serving;          /* judged and found good, so far */
    bool damaged;          /* found while serving: nothing is written any more */
    unsigned check_table;  /* how far the check has come; SQL_CHECKED: all is checked */
    uint64_t check_after;  /* in that table, up to this row */
};

/* ---- sqlite_sql.c: statements ---- */

/* The statement of a SQL text that has static storage: prepared once, reset, without bindings. */
enum tg_code sql_get(struct sqlite *s, const char *text, sqlite3_stmt **out,
                     struct tg_error *err) TG_MUST_CHECK;
/* For TG_CLEANUP: resets and unbinds, so that nothing borrowed outlives the call. */
void sql_done(sqlite3_stmt **statement);
/* Steps to the next row; *row says whether there is one. */
enum tg_code sql_step(struct sqlite *s, sqlite3_stmt *statement, bool *row,
                      struct tg_error *err) TG_MUST_CHECK;
/* Steps a statement that gives no rows. */
enum tg_code sql_run(struct sqlite *s, sqlite3_stmt *statement, struct tg_error *err) TG_MUST_CHECK;
/* Runs SQL text once, without parameters and rows. */
enum tg_code sql_exec(struct sqlite *s, const char *text, struct tg_error *err) TG_MUST_CHECK;
/* The first column of the only row of `text`, a number. */
enum tg_code sql_number(struct sqlite *s, const char *text, int64_t *out, struct tg_error *err) TG_MUST_CHECK;
/* What SQLite's newest error means to us, with the file's name. */
enum tg_code sql_fail(struct sqlite *s, int rc, struct tg_error *err);

/* Borrowed by the statement until sql_done. */
void sql_bind_number(sqlite3_stmt *statement, int index, uint64_t value);
void sql_bind_text(sqlite3_stmt *statement, int index, const char *text);
void sql_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t len);

/* Columns: false when the value is not of that size, which only damage can cause. */
bool sql_column_text(sqlite3_stmt *statement, int column, char *out, size_t size);
bool sql_column_blob(sqlite3_stmt *statement, int column, void *out, size_t len);
uint64_t sql_column_number(sqlite3_stmt *statement, int column);
bool sql_column_null(sqlite3_stmt *statement, int column);
enum tg_code sql_damaged(struct sqlite *s, struct tg_error *err);

/* The three columns kek, wrapped, sealed; NULLs when the key was destroyed. */
void sql_bind_key(sqlite3_stmt *statement, int first, const struct at_rest *key);
bool sql_column_key(sqlite3_stmt *statement, int first, struct at_rest *key);
/* Notes that a transaction destroyed a key: the log is emptied soon (tidy). */
void sql_destroyed(struct sqlite *s);

/* ---- sqlite_schema.c ---- */

/* Checks that this database is ours and of a version we know. Reads only. */
enum tg_code sqlite_schema_check(struct sqlite *s, struct tg_error *err) TG_MUST_CHECK;
/* Brings an empty or older database to the version of this program. In a transaction. */
enum tg_code sqlite_schema_migrate(struct sqlite *s, struct tg_error *err) TG_MUST_CHECK;

/* ---- sqlite_check.c ---- */

/* Before anything is written: in bounded time, the rest is left to sqlite_check_piece. */
enum tg_code sqlite_check_start(struct sqlite *s, struct tg_error *err) TG_MUST_CHECK;
/* A bounded piece of what is left to be checked, in a transaction; *more is set when there is more. */
enum tg_code sqlite_check_piece(struct sqlite *s, bool *more, struct tg_error *err) TG_MUST_CHECK;
/* DATA_LOSS. While serving: nothing is written from now on, and the next start checks everything. */
enum tg_code sqlite_damage_found(struct sqlite *s, const char *what, struct tg_error *err);
/* DATA_LOSS once damage was found. */
enum tg_code sqlite_check_health(const struct sqlite *s, struct tg_error *err) TG_MUST_CHECK;

/* ---- store_sqlite.c ---- */

extern const struct store_ops sqlite_ops;
/* Also of one that was opened by half. */
void sqlite_close(struct sqlite *s);
/* For sqlite3_wal_hook, with a struct sqlite. */
int sqlite_count_wal_pages(void *arg, sqlite3 *db, const char *name, int pages);

/* ---- the rest of struct store_ops, by table ---- */

/* sqlite_registry.c */
enum tg_code sqlite_note_find(struct store *s, const char *name, uint8_t out[STORE_NOTE_MAX], size_t *len,
                              struct tg_error *err);
enum tg_code sqlite_note_set(struct store *s, const char *name, const void *value, size_t len,
                             struct tg_error *err);
enum tg_code sqlite_note_add(struct store *s, const char *name, const void *value, size_t len,
                             struct tg_error *err);
enum tg_code sqlite_qkud_add(struct store *s, const struct store_qkud *qkud, struct tg_error *err);
enum tg_code sqlite_qkud_find(struct store *s, const char *id, struct store_qkud *out, struct tg_error *err);
enum tg_code sqlite_qkud_revoke(struct store *s, const char *id, uint64_t now_s, struct tg_error *err);
enum tg_code sqlite_qkud_list(struct store *s, const char *after, size_t limit, store_each_qkud *each,
                              void *arg, struct tg_error *err);
enum tg_code sqlite_shield_add(struct store *s, const struct store_shield *shield, struct tg_error *err);
enum tg_code sqlite_shield_find(struct store *s, const char *id, struct store_shield *out,
                                struct tg_error *err);
enum tg_code sqlite_shield_revoke(struct store *s, const char *id, uint64_t now_s, uint32_t *keys,
                                  struct tg_error *err);
enum tg_code sqlite_shield_list(struct store *s, const char *after, size_t limit, store_each_shield *each,
                                void *arg, struct tg_error *err);
/* sqlite_fills.c */
enum tg_code sqlite_fill_add(struct store *s, const struct store_fill *fill, const struct store_new_key *keys,
                             size_t count, struct tg_error *err);
enum tg_code sqlite_fill_find(struct store *s, const uint8_t id[STORE_FILL_ID_LEN], struct store_fill *out,
                              struct tg_error *err);
enum tg_code sqlite_fill_confirm(struct store *s, struct store_fill *fill, uint64_t now_s,
                                 struct tg_error *err);
enum tg_code sqlite_upkeep(struct store *s, const struct store_upkeep *upkeep, bool *more,
                           struct tg_error *err);
/* sqlite_keys.c */
enum tg_code sqlite_key_find(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN], struct store_key *out,
                             struct tg_error *err);
enum tg_code sqlite_key_spend(struct store *s, const struct store_key *key, const struct store_spend *spend,
                              struct tg_error *err);
enum tg_code sqlite_key_answer(struct store *s, const struct store_key *key, uint64_t since_s,
                               uint8_t out[STORE_ANSWER_MAX], size_t *len, struct tg_error *err);
enum tg_code sqlite_key_revoke(struct store *s, const struct store_key *key, struct tg_error *err);
enum tg_code sqlite_key_list(struct store *s, const struct store_key_filter *filter, size_t limit,
                             store_each_key *each, void *arg, struct tg_error *err);
/* sqlite_sae.c */
enum tg_code sqlite_sae_key_add(struct store *s, const struct store_sae_key *keys, size_t count,
                                struct tg_error *err);
enum tg_code sqlite_sae_key_take(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN], const char *master,
                                 const char *slave, struct store_sae_key *out, struct tg_error *err);
enum tg_code sqlite_sae_key_count(struct store *s, const char *master, const char *slave, uint64_t *count,
                                  struct tg_error *err);
enum tg_code sqlite_sae_key_upkeep(struct sqlite *s, uint64_t now_s, bool *more, struct tg_error *err);
/* sqlite_rewrap.c */
enum tg_code sqlite_rewrap_list(struct store *s, uint32_t kek, size_t limit, store_each_at_rest *each,
                                void *arg, struct tg_error *err);
enum tg_code sqlite_rewrap_set(struct store *s, enum at_rest_kind kind, const void *id, size_t id_len,
                               const struct at_rest *before, const struct at_rest *after,
                               struct tg_error *err);
enum tg_code sqlite_kek_rows(struct store *s, uint32_t kek, uint64_t *rows, struct tg_error *err);

#endif
