#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"
#include "services/key-store/store/postgres.h"

enum { FLUSH_EVERY = 16 /* statements: the server works while we do */ };

/* ---- arguments: all in binary form ---- */

static void add_arg(struct pg_args *args, const void *value, size_t len)
{
    TG_INVARIANT(args->count < PG_ARGS_MAX);
    args->values[args->count] = value;
    args->lengths[args->count++] = (int)len;
}

void pg_number(struct pg_args *args, uint64_t value)
{
    TG_INVARIANT(value <= INT64_MAX && args->count < PG_ARGS_MAX);
    uint8_t *bytes = args->numbers[args->count];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    add_arg(args, bytes, 8);
}

void pg_text(struct pg_args *args, const char *text)
{
    add_arg(args, text, strlen(text));
}

void pg_bytes(struct pg_args *args, const void *bytes, size_t len)
{
    add_arg(args, bytes, len);
}

void pg_key(struct pg_args *args, const struct at_rest *key)
{
    pg_number(args, key->kek);
    pg_bytes(args, key->wrapped, sizeof key->wrapped);
    pg_bytes(args, key->sealed, sizeof key->sealed);
}

/* ---- what went wrong ---- */

enum tg_code pg_lose(struct postgres *p, struct tg_error *err)
{
    if (err != NULL)
        *err = p->lost;
    return p->lost.code;
}

/* By the beginning of SQLSTATE (PostgreSQL manual, appendix A). ABORTED: apply the transaction again. */
static const struct {
    const char *state;
    enum tg_code code;
    bool drop; /* this server is of no use to us now */
} states[] = {
    {"40", TG_ABORTED, false},      /* serialization failure, deadlock */
    {"08", TG_ABORTED, true},       /* connection */
    {"57P", TG_ABORTED, true},      /* shutdown, crash, not yet up */
    {"25006", TG_ABORTED, true},    /* read-only: it is a standby now */
    {"25P03", TG_ABORTED, true},    /* idle in transaction */
    {"XX001", TG_DATA_LOSS, false}, /* data corrupted */
    {"XX002", TG_DATA_LOSS, false}, /* index corrupted */
    {"53", TG_UNAVAILABLE, false},  /* disk full, out of memory, too many connections */
    {"55P03", TG_UNAVAILABLE, false} /* lock timeout */,
    {"57014", TG_UNAVAILABLE, false} /* cancelled */,
    {"58", TG_UNAVAILABLE, false} /* I/O error */,
};

/* The first failure of a transaction is why it is lost; what follows is only its echo. */
static void note_failure(struct postgres *p, const PGresult *result, bool *drop)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t i = 0;
    size_t known = sizeof states / sizeof *states;
    if (p->lost.code != TG_OK)
        return;
    while (i < known && (state == NULL || strncmp(state, states[i].state, strlen(states[i].state)) != 0))
        i++;
    *drop = i < known && states[i].drop;
    tg_fail(&p->lost, i < known ? states[i].code : TG_INTERNAL, "%s: %s (%s)", p->name,
            message != NULL ? message : PQresultErrorMessage(result), state != NULL ? state : "no code");
}

static enum tg_code lose_connection(struct postgres *p, const char *why, struct tg_error *err)
{
    if (p->lost.code == TG_OK) {
        struct tg_error broken;
        pg_broken(p, &broken);
        tg_fail(&p->lost, TG_ABORTED, "%s%s", broken.text, why);
    }
    pg_drop(p);
    return pg_lose(p, err);
}

/* ---- waiting ---- */

/* Until the next result can be had without waiting. */
static enum tg_code await(struct postgres *p, struct tg_error *err)
{
    uint64_t end = clock_now_ms() + (uint64_t)p->wait_ms;
    for (;;) {
        int unsent = PQflush(p->conn);
        if (unsent < 0)
            return lose_connection(p, "", err);
        if (unsent == 0 && PQisBusy(p->conn) == 0)
            return TG_OK;
        uint64_t now = clock_now_ms();
        if (now >= end)
            return lose_connection(p, " (it does not answer)", err);
        struct pollfd fd = {.fd = PQsocket(p->conn), .events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0))};
        int ready = poll(&fd, 1, (int)(end - now));
        if (ready < 0 && errno != EINTR)
            return lose_connection(p, "", err);
        if (ready > 0 && (fd.revents & ~POLLOUT) != 0 && PQconsumeInput(p->conn) == 0)
            return lose_connection(p, "", err);
    }
}

void pg_done(PGresult **rows)
{
    PQclear(*rows);
    *rows = NULL;
}

/* The next result and the NULL after it. A pipeline's end has none. */
static enum tg_code next_result(struct postgres *p, PGresult **out, struct tg_error *err)
{
    TG_TRY(await(p, err));
    *out = PQgetResult(p->conn);
    if (*out == NULL || PQstatus(p->conn) == CONNECTION_BAD)
        return lose_connection(p, "", err);
    if (PQresultStatus(*out) == PGRES_PIPELINE_SYNC)
        return TG_OK;
    TG_TRY(await(p, err));
    TG_CLEANUP(pg_done) PGresult *end = PQgetResult(p->conn);
    return end == NULL ? TG_OK : lose_connection(p, "", err);
}

static void judge(struct postgres *p, const struct pg_pending *pending, PGresult *result, bool *drop)
{
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!good && pending->expect == PG_PREPARED)
        p->prepared[pending->slot].sent = false;
    if (status == PGRES_FATAL_ERROR)
        note_failure(p, result, drop);
    else if (!good && p->lost.code == TG_OK)
        tg_fail(&p->lost, TG_ABORTED, "%s: given up (%s)", p->name, PQresStatus(status));
    else if (good && pending->expect == PG_ONE_ROW && strcmp(PQcmdTuples(result), "1") != 0 &&
             p->lost.code == TG_OK)
        tg_fail(&p->lost, TG_INTERNAL, "%s: a change did not find its row", p->name);
}

static enum tg_code collect_sync(struct postgres *p, struct tg_error *err)
{
    TG_CLEANUP(pg_done) PGresult *result = NULL;
    TG_TRY(next_result(p, &result, err));
    TG_INVARIANT(PQresultStatus(result) == PGRES_PIPELINE_SYNC);
    return TG_OK;
}

enum tg_code pg_collect(struct postgres *p, bool sync, PGresult **rows, struct tg_error *err)
{
    bool drop = false;
    if (rows != NULL)
        *rows = NULL;
    if ((sync ? PQpipelineSync(p->conn) : PQsendFlushRequest(p->conn)) == 0)
        return lose_connection(p, "", err);
    size_t count = p->pending_count;
    for (size_t i = 0; i < count; i++) {
        TG_CLEANUP(pg_done) PGresult *result = NULL;
        TG_TRY(next_result(p, &result, err));
        judge(p, &p->pending[i], result, &drop);
        if (rows != NULL && i == count - 1 && p->lost.code == TG_OK) {
            *rows = result;
            result = NULL;
        }
    }
    p->pending_count = 0;
    if (sync)
        TG_TRY(collect_sync(p, err));
    if (drop)
        pg_drop(p);
    return pg_lose(p, err);
}

/* ---- sending ---- */

static unsigned slot_of(struct postgres *p, const char *text)
{
    unsigned slot = 0;
    while (p->prepared[slot].text != NULL && p->prepared[slot].text != text)
        slot++;
    TG_INVARIANT(slot < PG_STATEMENTS_MAX - 1); /* the last one stays NULL */
    p->prepared[slot].text = text;
    return slot;
}

static void expect(struct postgres *p, enum pg_expect what, unsigned slot)
{
    p->pending[p->pending_count++] = (struct pg_pending){what, slot};
}

static bool send_now(struct postgres *p, unsigned slot, const struct pg_args *args, enum pg_expect what)
{
    static const int binary[PG_ARGS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    char name[16];
    snprintf(name, sizeof name, "s%u", slot);
    if (!p->prepared[slot].sent) {
        if (PQsendPrepare(p->conn, name, p->prepared[slot].text, 0, NULL) == 0)
            return false;
        p->prepared[slot].sent = true;
        expect(p, PG_PREPARED, slot);
    }
    if (PQsendQueryPrepared(p->conn, name, args->count, args->values, args->lengths, binary, 1) == 0)
        return false;
    expect(p, what, slot);
    return p->pending_count % FLUSH_EVERY != 0 || PQflush(p->conn) >= 0;
}

enum tg_code pg_send(struct postgres *p, const char *text, const struct pg_args *args, enum pg_expect what,
                     struct tg_error *err)
{
    static const struct pg_args none = {0};
    if (p->lost.code != TG_OK)
        return pg_lose(p, err);
    if (p->pending_count + 2 > PG_PENDING_MAX)
        TG_TRY(pg_collect(p, false, NULL, err));
    bool sent = send_now(p, slot_of(p, text), args != NULL ? args : &none, what);
    return sent ? TG_OK : lose_connection(p, "", err);
}

enum tg_code pg_query(struct postgres *p, const char *text, const struct pg_args *args, PGresult **rows,
                      struct tg_error *err)
{
    TG_TRY(pg_send(p, text, args, PG_ROWS, err));
    return pg_collect(p, false, rows, err);
}

static enum tg_code save_item(struct postgres *p, struct tg_error *err)
{
    if (p->item != PG_CLEAN)
        return TG_OK;
    p->item = PG_SAVED;
    return pg_send(p, "SAVEPOINT item", NULL, PG_DONE, err);
}

void pg_change_for_good(struct postgres *p)
{
    if (p->item == PG_CLEAN)
        p->item = PG_BARE;
}

enum tg_code pg_change(struct postgres *p, const char *text, const struct pg_args *args, enum pg_expect what,
                       struct tg_error *err)
{
    TG_TRY(save_item(p, err));
    return pg_send(p, text, args, what, err);
}

enum tg_code pg_change_rows(struct postgres *p, const char *text, const struct pg_args *args, PGresult **rows,
                            struct tg_error *err)
{
    TG_TRY(save_item(p, err));
    return pg_query(p, text, args, rows, err);
}

enum tg_code pg_change_now(struct postgres *p, const char *text, const struct pg_args *args, uint64_t *rows,
                           struct tg_error *err)
{
    TG_CLEANUP(pg_done) PGresult *result = NULL;
    TG_TRY(pg_change_rows(p, text, args, &result, err));
    *rows = strtoull(PQcmdTuples(result), NULL, 10);
    return TG_OK;
}

/* ---- columns ---- */

uint64_t pg_column_number(const PGresult *rows, int row, int column)
{
    uint64_t value = 0;
    const uint8_t *bytes = (const uint8_t *)PQgetvalue(rows, row, column);
    if (PQgetisnull(rows, row, column) || PQgetlength(rows, row, column) != 8)
        return 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

bool pg_column_null(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) != 0;
}

bool pg_column_bytes(const PGresult *rows, int row, int column, void *out, size_t max, size_t *len)
{
    *len = (size_t)PQgetlength(rows, row, column);
    if (PQgetisnull(rows, row, column) || *len > max)
        return false;
    memcpy(out, PQgetvalue(rows, row, column), *len);
    return true;
}

bool pg_column_text(const PGresult *rows, int row, int column, char *out, size_t size)
{
    size_t len = 0;
    if (!pg_column_bytes(rows, row, column, out, size - 1, &len))
        return false;
    out[len] = '\0';
    return true;
}

bool pg_column_blob(const PGresult *rows, int row, int column, void *out, size_t len)
{
    size_t have = 0;
    return pg_column_bytes(rows, row, column, out, len, &have) && have == len;
}

bool pg_column_key(const PGresult *rows, int row, int first, struct at_rest *key)
{
    key->kek = 0;
    if (pg_column_null(rows, row, first))
        return true;
    key->kek = (uint32_t)pg_column_number(rows, row, first);
    return pg_column_blob(rows, row, first + 1, key->wrapped, sizeof key->wrapped) &&
           pg_column_blob(rows, row, first + 2, key->sealed, sizeof key->sealed);
}

enum tg_code pg_damaged(struct postgres *p, struct tg_error *err)
{
    return tg_fail(err, TG_DATA_LOSS, "%s is damaged: a row holds a value of the wrong size", p->name);
}
