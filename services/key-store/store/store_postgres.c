/* Transactions of the PostgreSQL backend.
 *
 * What a standby must have before we say "done": with synchronous replication COMMIT waits for it. Two holes
 * are closed here. A connection that breaks while COMMIT waits leaves the change in the primary's own log:
 * others see it then, though no standby may have it. Whoever only read, and gave the answer kept for a spend
 * again, would hand out a key that the promoted standby gives out again. So what an answer depends on is
 * read with a lock, which writes to the log, and the commit waits: standbys take the log in order. And a
 * COMMIT whose wait an operator cancels ends in a warning, not in an error: it counts as not done. */
#include <stdlib.h>
#include <string.h>

#include "services/key-store/store/postgres.h"

static void new_transaction(struct postgres *p)
{
    p->lost = (struct tg_error){.code = TG_OK};
    p->item = PG_NO_ITEM;
    postgres_forget(p);
}

void postgres_forget(struct postgres *p)
{
    p->key_count = 0;
    p->qkud_count = 0;
}

static enum tg_code begin(struct store *s, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    new_transaction(p);
    TG_TRY(pg_connect(p, err));
    return pg_send(p, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, PG_DONE, err);
}

/* Never fails: what cannot be rolled back is given up with the connection, and the server rolls it back. */
static void rollback(struct store *s)
{
    struct postgres *p = postgres_of(s);
    struct tg_error why; /* known already */
    if (p->conn != NULL && pg_collect(p, true, NULL, &why) == TG_DATA_LOSS)
        pg_drop(p);
    new_transaction(p);
    if (p->conn == NULL || PQtransactionStatus(p->conn) == PQTRANS_IDLE)
        return;
    if (pg_send(p, "ROLLBACK", NULL, PG_DONE, &why) != TG_OK || pg_collect(p, true, NULL, &why) != TG_OK)
        pg_drop(p);
    new_transaction(p);
}

static enum tg_code send_commit(struct postgres *p, struct tg_error *err)
{
    TG_TRY(pg_send(p, "COMMIT", NULL, PG_DONE, err));
    TG_CLEANUP(pg_done) PGresult *result = NULL;
    p->committing = true;
    p->warned = false;
    enum tg_code code = pg_collect(p, true, &result, err);
    p->committing = false;
    TG_TRY(code);
    /* a COMMIT of a failed transaction says ROLLBACK, and no error */
    TG_ENSURE(strcmp(PQcmdStatus(result), "COMMIT") == 0, err, TG_ABORTED, "%s did not commit", p->name);
    TG_ENSURE(!p->warned, err, TG_ABORTED, "%s did not wait for its standby", p->name);
    return TG_OK;
}

static enum tg_code commit(struct store *s, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    enum tg_code code = send_commit(p, err);
    if (code != TG_OK)
        rollback(s);
    return code;
}

static enum tg_code mark(struct store *s, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    if (p->lost.code != TG_OK)
        return pg_lose(p, err);
    p->item = PG_CLEAN;
    return TG_OK;
}

static enum tg_code unmark(struct store *s, bool keep, struct tg_error *err)
{
    struct postgres *p = postgres_of(s);
    enum pg_item item = p->item;
    p->item = PG_NO_ITEM;
    if (p->lost.code != TG_OK)
        return pg_lose(p, err);
    if (item == PG_BARE && !keep) {
        tg_fail(&p->lost, TG_INTERNAL, "%s: an item was refused after it had written", p->name);
        return pg_lose(p, err);
    }
    if (item != PG_SAVED)
        return TG_OK;
    if (!keep) {
        postgres_forget(p); /* locks taken since the savepoint are given up */
        TG_TRY(pg_send(p, "ROLLBACK TO SAVEPOINT item", NULL, PG_DONE, err));
    }
    return pg_send(p, "RELEASE SAVEPOINT item", NULL, PG_DONE, err);
}

/* The server keeps its own house. */
static void tidy(struct store *s, bool idle)
{
    (void)s;
    (void)idle;
}

static void close_store(struct store *s)
{
    struct postgres *p = postgres_of(s);
    pg_drop(p);
    secret_free(p->password);
    free(p->conninfo);
    free(p);
}

const struct store_ops postgres_ops = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .unmark = unmark,
    .tidy = tidy,
    .close = close_store,
    .note_find = postgres_note_find,
    .note_set = postgres_note_set,
    .note_add = postgres_note_add,
    .qkud_add = postgres_qkud_add,
    .qkud_find = postgres_qkud_find,
    .qkud_revoke = postgres_qkud_revoke,
    .qkud_list = postgres_qkud_list,
    .shield_add = postgres_shield_add,
    .shield_find = postgres_shield_find,
    .shield_revoke = postgres_shield_revoke,
    .shield_list = postgres_shield_list,
    .fill_add = postgres_fill_add,
    .fill_find = postgres_fill_find,
    .fill_confirm = postgres_fill_confirm,
    .keys_expected = postgres_keys_expected,
    .key_find = postgres_key_find,
    .key_spend = postgres_key_spend,
    .key_answer = postgres_key_answer,
    .key_revoke = postgres_key_revoke,
    .key_list = postgres_key_list,
    .sae_key_add = postgres_sae_key_add,
    .sae_key_take = postgres_sae_key_take,
    .sae_key_count = postgres_sae_key_count,
    .rewrap_list = postgres_rewrap_list,
    .rewrap_set = postgres_rewrap_set,
    .kek_rows = postgres_kek_rows,
    .upkeep = postgres_upkeep,
};
