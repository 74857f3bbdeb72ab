#include "services/audit/search/reading.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/http/http.h"
#include "common/pb.h"
#include "common/secret.h"

enum { TOKEN_MIN = 16, TOKEN_MAX = 256, SEARCH_BUDGET_MS = 10000, SEARCH_LIMIT = 100, DRAIN_MS = 2000 };

struct reading {
    struct log_writer *log;
    struct query_engine *queries;
    struct secret *token; /* NULL: none is asked for */
    struct http_server *http;
};

/* ---- who may ---- */

static bool is_allowed(const struct reading *reading, const struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *given = http_request_header(request, "Authorization");
    if (reading->token == NULL)
        return true;
    if (given == NULL || strncmp(given, scheme, sizeof scheme - 1) != 0)
        return false;
    given += sizeof scheme - 1;
    return strlen(given) == secret_len(reading->token) &&
           CRYPTO_memcmp(given, secret_view(reading->token), secret_len(reading->token)) == 0;
}

/* NULL: it has been answered. */
static struct reading *admit(struct http_request *request)
{
    struct reading *reading = http_request_context(request);
    if (is_allowed(reading, request))
        return reading;
    http_reply_text(request, 401, "a token is needed: Authorization: Bearer …");
    return NULL;
}

static void fail(struct http_request *request, enum tg_code code, const char *text)
{
    unsigned status = code == TG_NOT_FOUND                                      ? 404
                      : code == TG_INVALID_ARGUMENT || code == TG_OUT_OF_RANGE  ? 400
                      : code == TG_UNAVAILABLE || code == TG_RESOURCE_EXHAUSTED ? 503
                                                                                : 500;
    http_reply_text(request, status, "%s", text);
}

/* ---- checkpoint and tiles ---- */

static void get_checkpoint(struct http_request *request)
{
    const struct reading *reading = admit(request);
    struct tg_error err;
    char *note = NULL;
    if (reading == NULL)
        return;
    if (reading->log->ops->checkpoint(reading->log, &note, &err) != TG_OK)
        fail(request, err.code, err.text);
    else
        http_reply(request, 200, "text/plain; charset=utf-8", note, strlen(note), free, note);
}

static void send_tile(struct http_request *request, const struct reading *reading, const char *path)
{
    struct tile tile;
    struct tile_bytes bytes = {0};
    struct tg_error err = {.code = TG_NOT_FOUND, .text = "there is no such tile"};
    enum tg_code code =
        tile_parse(path, &tile) ? reading->log->ops->tile(reading->log, &tile, &bytes, &err) : TG_NOT_FOUND;
    if (code != TG_OK) {
        tile_bytes_free(&bytes);
        fail(request, code, err.text);
        return;
    }
    http_reply(request, 200, "application/octet-stream", bytes.data, bytes.len, free, bytes.data);
}

static void get_tile(struct http_request *request, unsigned segments)
{
    const struct reading *reading = admit(request);
    char path[TILE_PATH_MAX] = "tile";
    size_t len = strlen(path);
    if (reading == NULL)
        return;
    for (unsigned i = 0; i < segments && len < sizeof path; i++)
        len += (size_t)snprintf(path + len, sizeof path - len, "/%s", http_request_segment(request, i));
    send_tile(request, reading, len < sizeof path ? path : "");
}

static void get_tile_2(struct http_request *request)
{
    get_tile(request, 2);
}

static void get_tile_3(struct http_request *request)
{
    get_tile(request, 3);
}

static void get_tile_4(struct http_request *request)
{
    get_tile(request, 4);
}

static void get_tile_5(struct http_request *request)
{
    get_tile(request, 5);
}

/* ---- search ---- */

static void found(void *arg, enum tg_code status, const char *text, const Tg__QueryResponse *response)
{
    struct http_request *request = arg;
    char *body = NULL;
    size_t len = 0;
    FILE *out = status == TG_OK ? open_memstream(&body, &len) : NULL;
    if (out == NULL) {
        fail(request, status == TG_OK ? TG_RESOURCE_EXHAUSTED : status, status == TG_OK ? "no memory" : text);
        return;
    }
    fputs("{\"events\":[", out);
    for (size_t i = 0; i < response->n_lines; i++)
        fprintf(out, "%s%s", i > 0 ? "," : "", response->lines[i]);
    fprintf(out, "],\"next_sequence\":%" PRIu64 ",\"more\":%s}\n", response->next_sequence,
            response->more ? "true" : "false");
    if (fclose(out) == 0)
        http_reply(request, 200, "application/json", body, len, free, body);
    else
        fail(request, TG_RESOURCE_EXHAUSTED, "no memory");
}

/* False: it is there and no number. */
static bool number_argument(const struct http_request *request, const char *name, uint64_t fallback,
                            uint64_t *out)
{
    const char *text = http_request_argument(request, name);
    char *end = NULL;
    *out = fallback;
    if (text == NULL)
        return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static void get_search(struct http_request *request)
{
    const struct reading *reading = admit(request);
    Tg__QueryRequest query = TG__QUERY_REQUEST__INIT;
    const struct {
        const char *name;
        char **to;
    } filters[] = {{"user", &query.user},         {"trace", &query.trace_id}, {"session", &query.session_id},
                   {"event", &query.event},       {"status", &query.status},  {"address", &query.address},
                   {"ticket", &query.ticket_hmac}};
    uint64_t limit = 0;
    if (reading == NULL)
        return;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        *filters[i].to = pb_string(http_request_argument(request, filters[i].name));
    if (!number_argument(request, "from", 0, &query.from_sequence) ||
        !number_argument(request, "limit", SEARCH_LIMIT, &limit) || limit > UINT32_MAX ||
        !number_argument(request, "since_us", 0, &query.since_us) ||
        !number_argument(request, "until_us", 0, &query.until_us)) {
        fail(request, TG_INVALID_ARGUMENT, "from, limit, since_us and until_us are numbers");
        return;
    }
    query.limit = (uint32_t)limit;
    query_submit(reading->queries, &query, SEARCH_BUDGET_MS, found, request);
}

/* ---- from open to close ---- */

static const struct http_route routes[] = {
    {HTTP_READ, "/checkpoint", get_checkpoint},
    {HTTP_READ, "/tile/{}/{}", get_tile_2},
    {HTTP_READ, "/tile/{}/{}/{}", get_tile_3},
    {HTTP_READ, "/tile/{}/{}/{}/{}", get_tile_4},
    {HTTP_READ, "/tile/{}/{}/{}/{}/{}", get_tile_5},
    {HTTP_READ, "/search", get_search},
    {0, NULL, NULL},
};

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

static enum tg_code check(const struct reading_config *config, bool *tls, struct tg_error *err)
{
    int files = (config->tls.certificate != NULL) + (config->tls.key != NULL) + (config->tls.ca != NULL);
    *tls = files > 0;
    TG_ENSURE(files == 0 || files == 3, err, TG_INVALID_ARGUMENT,
              "reading: certificate, key and ca go together");
    TG_ENSURE(*tls || config->token_file != NULL, err, TG_INVALID_ARGUMENT,
              "reading: give certificate, key and ca, or a token_file: strangers may not read the log");
    TG_ENSURE(*tls || is_loopback(config->listen), err, TG_INVALID_ARGUMENT,
              "reading: without certificate, key and ca only on loopback (127.0.0.1:…), where nobody "
              "overhears the token");
    return TG_OK;
}

static enum tg_code read_token(struct reading *reading, const char *path, struct tg_error *err)
{
    TG_TRY(file_read_line_secret(path, &reading->token, err));
    size_t len = secret_len(reading->token);
    TG_ENSURE(len >= TOKEN_MIN && len <= TOKEN_MAX, err, TG_INVALID_ARGUMENT,
              "%s: a token has %d to %d bytes: openssl rand -hex 32 makes one", path, TOKEN_MIN, TOKEN_MAX);
    return TG_OK;
}

static enum tg_code open_parts(struct reading *reading, const struct reading_config *config,
                               struct tg_error *err)
{
    bool tls = false;
    TG_TRY(check(config, &tls, err));
    if (config->token_file != NULL)
        TG_TRY(read_token(reading, config->token_file, err));
    const struct http_options options = {
        .address = config->listen, .tls = tls ? &config->tls : NULL, .routes = routes, .context = reading};
    return http_server_open(&reading->http, &options, err);
}

enum tg_code reading_open(struct reading **out, const struct reading_config *config, struct log_writer *log,
                          struct query_engine *queries, struct tg_error *err)
{
    struct reading *reading = calloc(1, sizeof *reading);
    TG_ENSURE(reading != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to serve the log");
    reading->log = log;
    reading->queries = queries;
    enum tg_code code = open_parts(reading, config, err);
    if (code == TG_OK)
        *out = reading;
    else
        reading_close(reading);
    return code;
}

enum tg_code reading_start(struct reading *reading, struct tg_error *err)
{
    return http_server_start(reading->http, err);
}

uint16_t reading_port(const struct reading *reading)
{
    return http_server_port(reading->http);
}

void reading_stop(struct reading *reading)
{
    if (reading == NULL)
        return;
    (void)http_server_stop(reading->http, DRAIN_MS);
    reading->http = NULL;
}

void reading_close(struct reading *reading)
{
    if (reading == NULL)
        return;
    reading_stop(reading);
    secret_free(reading->token);
    free(reading);
}
