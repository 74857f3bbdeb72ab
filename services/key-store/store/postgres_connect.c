/* The connection to the server that takes writes, and how it is set up. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/trace.h"
#include "services/key-store/store/postgres.h"

enum { CONNECT_AGAIN_MS = 200 /* after one that failed: those who wait meanwhile hear at once */ };

/* What the server must not do for us: cut COMMIT short (PostgreSQL then calls a commit done that no standby
 * has), or hold rows for a key store that hangs. Less than `on` would forget commits. */
static const char session[] =
    "SET search_path = ticketgate;"
    "SET statement_timeout = 0;"
    "SET lock_timeout = '4s';"
    "SET idle_in_transaction_session_timeout = '15s';"
    "SET client_min_messages = warning;"
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit', true) IN ('off', 'local', 'remote_write')";

void pg_drop(struct postgres *p)
{
    PQfinish(p->conn);
    p->conn = NULL;
    p->pending_count = 0;
    for (size_t i = 0; i < PG_STATEMENTS_MAX; i++)
        p->prepared[i].sent = false;
}

/* libpq's messages have several lines. */
static void one_line(const char *message, char *out, size_t size)
{
    snprintf(out, size, "%s", message);
    size_t len = strlen(out);
    while (len > 0 && out[len - 1] == '\n')
        out[--len] = '\0';
    for (char *c = out; *c != '\0'; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
}

enum tg_code pg_broken(struct postgres *p, struct tg_error *err)
{
    char why[160];
    one_line(p->conn != NULL ? PQerrorMessage(p->conn) : "not connected", why, sizeof why);
    pg_drop(p);
    return tg_fail(err, TG_UNAVAILABLE, "%s cannot be reached: %s", p->name, why[0] != '\0' ? why : "lost");
}

/* A warning while committing says that the commit did not wait for its standby. */
static void take_notice(void *arg, const PGresult *notice)
{
    struct postgres *p = arg;
    char text[160];
    one_line(PQresultErrorMessage(notice), text, sizeof text);
    p->warned = p->warned || p->committing;
    LOG(LOG_WARNING, NULL, "database.notice", LOG_TEXT("text", text));
}

static PGconn *connect_now(const struct postgres *p)
{
    /* Those before dbname can be overridden by the connection string, those after it cannot. */
    const char *password = p->password != NULL ? (const char *)secret_view(p->password) : NULL;
    static const char *const keys[] = {"target_session_attrs",
                                       "connect_timeout",
                                       "tcp_user_timeout",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "application_name",
                                       "dbname",
                                       "client_encoding",
                                       "password",
                                       NULL};
    const char *const values[] = {"read-write",   "3",         "5000", "5",      "5", "2",
                                  "tg-key-store", p->conninfo, "UTF8", password, NULL};
    return PQconnectdbParams(keys, values, 1);
}

static bool set_up(struct postgres *p)
{
    PGresult *result = PQexec(p->conn, session);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    return (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && PQsetnonblocking(p->conn, 1) == 0 &&
           PQenterPipelineMode(p->conn) == 1;
}

enum tg_code pg_connect(struct postgres *p, struct tg_error *err)
{
    if (p->conn != NULL)
        return TG_OK;
    TG_ENSURE(clock_now_ms() >= p->connect_after_ms, err, TG_UNAVAILABLE, "%s cannot be reached", p->name);
    p->conn = connect_now(p);
    if (p->conn == NULL || PQstatus(p->conn) != CONNECTION_OK) {
        p->connect_after_ms = clock_now_ms() + CONNECT_AGAIN_MS;
        return pg_broken(p, err);
    }
    PQsetNoticeReceiver(p->conn, take_notice, p);
    if (!set_up(p))
        return pg_broken(p, err);
    LOG(LOG_INFO, NULL, "database.connected", LOG_TEXT("database", p->name),
        LOG_TEXT("host", PQhost(p->conn)), LOG_TEXT("port", PQport(p->conn)));
    return TG_OK;
}

/* ---- opening ---- */

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    while (options->keyword != NULL && strcmp(options->keyword, keyword) != 0)
        options++;
    return options->val != NULL ? options->val : "";
}

/* A password belongs into a file that is ours alone: anyone may read a configuration or an environment. */
static enum tg_code judge(struct postgres *p, const PQconninfoOption *options, struct tg_error *err)
{
    TG_ENSURE(
        option(options, "password")[0] == '\0' && getenv("PGPASSWORD") == NULL, err, TG_INVALID_ARGUMENT,
        "the database's password stands in postgres.conninfo or PGPASSWORD: use postgres.password_file");
    snprintf(p->name, sizeof p->name, "PostgreSQL database %s at %s", option(options, "dbname"),
             option(options, "host"));
    return TG_OK;
}

static enum tg_code read_conninfo(struct postgres *p, struct tg_error *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(p->conninfo, &why);
    if (options == NULL) {
        char text[160];
        one_line(why != NULL ? why : "out of memory", text, sizeof text);
        PQfreemem(why);
        return tg_fail(err, TG_INVALID_ARGUMENT, "postgres.conninfo is no connection string: %s", text);
    }
    enum tg_code code = judge(p, options, err);
    PQconninfoFree(options);
    return code;
}

static enum tg_code read_password(struct postgres *p, const char *file, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *line = NULL;
    TG_TRY(file_read_line_secret(file, &line, err));
    p->password = secret_new(secret_len(line) + 1); /* zeroed */
    TG_ENSURE(p->password != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a password: raise locked_memory");
    memcpy(secret_bytes(p->password), secret_view(line), secret_len(line));
    return TG_OK;
}

static enum tg_code open_it(struct postgres *p, const struct store_postgres_config *config,
                            struct tg_error *err)
{
    p->conninfo = strdup(config->conninfo);
    TG_ENSURE(p->conninfo != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the database");
    TG_TRY(read_conninfo(p, err));
    if (config->password_file != NULL)
        TG_TRY(read_password(p, config->password_file, err));
    TG_TRY(pg_connect(p, err));
    return postgres_schema_open(p, err);
}

enum tg_code store_postgres_open(const struct store_postgres_config *config, struct store **store,
                                 struct tg_error *err)
{
    struct postgres *p = calloc(1, sizeof *p);
    TG_ENSURE(p != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the database");
    p->base.ops = &postgres_ops;
    p->wait_ms = config->wait_ms;
    enum tg_code code = open_it(p, config, err);
    if (code == TG_OK)
        *store = &p->base;
    else
        postgres_ops.close(&p->base);
    return code;
}
