#include <stdlib.h>

#include "common/log.h"
#include "common/trace.h"
#include "services/key-store/store/sqlite.h"

enum tidy_limits {
    WAL_PAGES_MAX = 4096,    /* then its pages go to the database: 16 MiB */
    DESTROYED_IDLE_MS = 500, /* destroyed keys leave the log this soon when nobody waits, */
    DESTROYED_MAX_MS = 5000  /* and this soon at the latest */
};

static struct sqlite *sqlite_of(struct store *s)
{
    return (struct sqlite *)s;
}

static enum tg_code begin(struct store *store, struct tg_error *err)
{
    struct sqlite *s = sqlite_of(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *statement = NULL;
    TG_TRY(sqlite_check_health(s, err));
    TG_TRY(sql_get(s, "BEGIN IMMEDIATE", &statement, err));
    return sql_run(s, statement, err);
}

static void rollback(struct store *store)
{
    struct sqlite *s = sqlite_of(store);
    if (sqlite3_get_autocommit(s->db) == 0) /* SQLite may have rolled back by itself */
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static enum tg_code commit(struct store *store, struct tg_error *err)
{
    struct sqlite *s = sqlite_of(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *statement = NULL;
    enum tg_code code = sqlite_check_health(s, err);
    if (code == TG_OK)
        code = sql_get(s, "COMMIT", &statement, err);
    if (code == TG_OK)
        code = sql_run(s, statement, err);
    if (code != TG_OK)
        rollback(store);
    return code;
}

static enum tg_code mark(struct store *store, struct tg_error *err)
{
    struct sqlite *s = sqlite_of(store);
    TG_CLEANUP(sql_done) sqlite3_stmt *statement = NULL;
    TG_TRY(sql_get(s, "SAVEPOINT item", &statement, err));
    return sql_run(s, statement, err);
}

static enum tg_code run_text(struct sqlite *s, const char *text, struct tg_error *err)
{
    TG_CLEANUP(sql_done) sqlite3_stmt *statement = NULL;
    TG_TRY(sql_get(s, text, &statement, err));
    return sql_run(s, statement, err);
}

static enum tg_code unmark(struct store *store, bool keep, struct tg_error *err)
{
    struct sqlite *s = sqlite_of(store);
    TG_ENSURE(sqlite3_get_autocommit(s->db) == 0, err, TG_UNAVAILABLE,
              "%s gave up the transaction: check disk space and the disk", s->path);
    if (!keep)
        TG_TRY(run_text(s, "ROLLBACK TO item", err));
    return run_text(s, "RELEASE item", err);
}

/* Moves the log's pages to the database; `truncate` also empties the log's file, and with it what
 * transactions destroyed. */
static void checkpoint(struct sqlite *s, bool truncate)
{
    int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, mode, NULL, NULL);
    if (rc == SQLITE_OK) {
        s->wal_pages = 0;
        if (truncate)
            s->destroyed_ms = 0;
        return;
    }
    struct tg_error err;
    sql_fail(s, rc, &err);
    LOG(LOG_WARNING, NULL, "database.checkpoint_failed", LOG_ERR(&err));
    if (s->destroyed_ms != 0)
        s->destroyed_ms = clock_now_ms(); /* again after another while */
}

static void tidy(struct store *store, bool idle)
{
    struct sqlite *s = sqlite_of(store);
    if (s->damaged)
        return;
    uint64_t age = s->destroyed_ms != 0 ? clock_now_ms() - s->destroyed_ms : 0;
    if (age >= (idle ? DESTROYED_IDLE_MS : DESTROYED_MAX_MS))
        checkpoint(s, true);
    else if (s->wal_pages >= WAL_PAGES_MAX)
        checkpoint(s, false);
}

int sqlite_count_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct sqlite *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static void close_store(struct store *store)
{
    sqlite_close(sqlite_of(store));
}

void sqlite_close(struct sqlite *s)
{
    for (size_t i = 0; i < SQL_STATEMENTS_MAX; i++)
        sqlite3_finalize(s->prepared[i].statement);
    int rc = sqlite3_close(s->db);
    TG_INVARIANT(rc == SQLITE_OK); /* no statement of ours is left open */
    free(s->path);
    free(s);
}

const struct store_ops sqlite_ops = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .unmark = unmark,
    .tidy = tidy,
    .close = close_store,
    .note_find = sqlite_note_find,
    .note_set = sqlite_note_set,
    .note_add = sqlite_note_add,
    .qkud_add = sqlite_qkud_add,
    .qkud_find = sqlite_qkud_find,
    .qkud_revoke = sqlite_qkud_revoke,
    .qkud_list = sqlite_qkud_list,
    .shield_add = sqlite_shield_add,
    .shield_find = sqlite_shield_find,
    .shield_revoke = sqlite_shield_revoke,
    .shield_list = sqlite_shield_list,
    .fill_add = sqlite_fill_add,
    .fill_find = sqlite_fill_find,
    .fill_confirm = sqlite_fill_confirm,
    .key_find = sqlite_key_find,
    .key_spend = sqlite_key_spend,
    .key_answer = sqlite_key_answer,
    .key_revoke = sqlite_key_revoke,
    .key_list = sqlite_key_list,
    .sae_key_add = sqlite_sae_key_add,
    .sae_key_take = sqlite_sae_key_take,
    .sae_key_count = sqlite_sae_key_count,
    .rewrap_list = sqlite_rewrap_list,
    .rewrap_set = sqlite_rewrap_set,
    .kek_rows = sqlite_kek_rows,
    .upkeep = sqlite_upkeep,
};
