/* tgctl audit: what happened, as the audit service keeps it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/pb.h"
#include "common/ticket.h"
#include "common/trace.h"
#include "proto/audit.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { PAGE = 500, FOLLOW_WAIT_MS = 20000, HIDDEN_MAX = 256 };

/* Reads a page from `request` on, and moves it on to the next. */
struct log_reader {
    const struct tgctl *ctl;
    struct rpc_client *client;
    Tg__QueryRequest request;
    uint64_t left; /* lines to print at most */
    bool more;
};

/* The member at a path such as "metadata.event_code"; NULL: there is none. */
static const json_t *member(const json_t *line, const char *path)
{
    char key[32];

    while (line != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");

        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        line = json_object_get(line, key);
        path += path[len] == '.' ? len + 1 : len;
    }
    return line;
}

/* What a line shows people, by the first path that is there; JSON shows it as it is stored. */
static const struct shown {
    const char *name;
    const char *paths[3];
} shown[] = {
    {"user", {"user.name", "actor.user.name"}},
    {"from", {"src_endpoint.ip", "src_endpoint.hostname", "src_endpoint.name"}},
    {"port", {"src_endpoint.port"}},
    {"session", {"session.uid", "actor.session.uid"}},
    {"to", {"dst_endpoint.ip", "dst_endpoint.hostname", "dst_endpoint.name"}},
    {"port", {"dst_endpoint.port"}},
    {"policy", {"unmapped.policy"}},
    {"qkud", {"unmapped.qkud_id"}},
    {"shield", {"unmapped.shield_id"}},
    {"peer", {"unmapped.peer"}},
    {"reason", {"status_detail"}},
    {"detail", {"message"}},
};

static const json_t *first_of(const json_t *line, const struct shown *what)
{
    const json_t *value = NULL;

    for (size_t i = 0; i < sizeof(what->paths) / sizeof(what->paths[0]) && value == NULL; i++)
        value = what->paths[i] != NULL ? member(line, what->paths[i]) : NULL;
    return value;
}

static void put_text(FILE *out, const json_t *line, const char *path, int width)
{
    char *text = table_cell(member(line, path));

    fprintf(out, "%-*s  ", width, text);
    free(text);
}

static void put_for_people(FILE *out, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);

    if (line == NULL) {
        fprintf(out, "(a line that is not JSON: tgctl audit verify)\n");
        return;
    }
    put_text(out, line, "metadata.sequence", 6);
    put_text(out, line, "time_dt", 27);
    put_text(out, line, "metadata.product.feature.name", 15);
    put_text(out, line, "metadata.event_code", 23);
    put_text(out, line, "status", 7);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const json_t *value = first_of(line, &shown[i]);
        char *cell = value != NULL ? table_cell(value) : NULL;

        if (cell != NULL && cell[0] != '\0')
            fprintf(out, " %s=%s", shown[i].name, cell);
        free(cell);
    }
    fputc('\n', out);
    json_decref(line);
}

static void put_line(const struct tgctl *ctl, const char *text)
{
    if (ctl->json)
        fprintf(ctl->out, "%s\n", text);
    else
        put_for_people(ctl->out, text);
}

static enum tg_code read_page(struct log_reader *reader, struct tg_error *err)
{
    struct rpc_request call = {
        .service = &tg__audit__descriptor,
        .method = "Query",
        .message = &reader->request.base,
        .budget_ms = (uint32_t)reader->ctl->config.timeout + reader->request.wait_ms,
        .idempotent = true,
    };
    ProtobufCMessage *answer;

    reader->request.limit = reader->left < PAGE ? (uint32_t)reader->left : PAGE;
    TG_TRY(rpc_call_wait(reader->client, &call, &answer, err));
    const Tg__QueryResponse *page = (const Tg__QueryResponse *)answer;
    for (size_t i = 0; i < page->n_lines && reader->left > 0; i++, reader->left--)
        put_line(reader->ctl, page->lines[i]);
    reader->request.from_sequence = page->next_sequence;
    reader->more = page->more;
    rpc_free_response(answer);
    return TG_OK;
}

/* What the service does not know it refuses, by name. */
static const char *status_of(const char *outcome)
{
    if (outcome != NULL && strcasecmp(outcome, "success") == 0)
        return "Success";
    return outcome != NULL && strcasecmp(outcome, "failure") == 0 ? "Failure" : outcome;
}

static enum tg_code reader_open(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                                struct log_reader *reader, struct tg_error *err)
{
    uint32_t limit;

    *reader = (struct log_reader){.ctl = ctl, .request = TG__QUERY_REQUEST__INIT, .more = true};
    reader->request.user = pb_string(arguments_option(arguments, "user"));
    reader->request.session_id = pb_string(arguments_option(arguments, "session"));
    reader->request.trace_id = pb_string(arguments_option(arguments, "trace"));
    reader->request.event = pb_string(arguments_option(arguments, "event"));
    reader->request.ticket_hmac = pb_string(arguments_option(arguments, "ticket"));
    reader->request.status = pb_string(status_of(arguments_option(arguments, "outcome")));
    reader->request.address = pb_string(arguments_option(arguments, "address"));
    TG_TRY(arguments_time(arguments, "since", &reader->request.since_us, err));
    TG_TRY(arguments_time(arguments, "until", &reader->request.until_us, err));
    TG_TRY(arguments_number(arguments, "limit", UINT32_MAX, &limit, err));
    reader->left = limit > 0 ? limit : UINT64_MAX;
    return tgctl_open(ctl, SERVICE_AUDIT, &reader->client, err);
}

/* Prints pages: to the end of the log, or (follow) on and on until the limit or the output's end. */
static enum tgctl_exit print_log(struct tgctl *ctl, const struct tgctl_arguments *arguments, bool follow)
{
    struct log_reader reader;
    struct tg_error err;
    enum tg_code code = reader_open(ctl, arguments, &reader, &err);

    if (code != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (follow) {
        reader.request.wait_ms = FOLLOW_WAIT_MS;
        if (reader.request.since_us == 0)
            reader.request.since_us = clock_unix_us();
    }
    while (code == TG_OK && reader.left > 0 && (reader.more || follow) && fflush(ctl->out) == 0)
        code = read_page(&reader, &err);
    rpc_client_close(reader.client);
    if (code != TG_OK)
        return tgctl_failed(&err);
    if (fflush(ctl->out) != 0 || ferror(ctl->out)) {
        fprintf(stderr, "tgctl: the output could not be written\n");
        return EXIT_OUTPUT;
    }
    return EXIT_DONE;
}

static enum tgctl_exit audit_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    return print_log(ctl, arguments, false);
}

static enum tgctl_exit audit_follow(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    return print_log(ctl, arguments, true);
}

/* A ticket in its text form, or any other value that the log hides (client random, RADIUS Class) in hex. */
static enum tg_code read_hidden(const char *text, uint8_t value[HIDDEN_MAX], size_t *len,
                                struct tg_error *err)
{
    size_t digits = strlen(text);

    *len = TICKET_LEN;
    if (ticket_from_text(text, value, err) == TG_OK)
        return TG_OK;
    *len = digits / 2;
    TG_ENSURE(digits % 2 == 0 && digits > 0 && *len <= HIDDEN_MAX && hex_decode(text, *len, value), err,
              TG_INVALID_ARGUMENT,
              "neither a ticket (tgt1. and %d characters) nor up to %d bytes in lower-case hex digits",
              TICKET_TEXT_LEN - 5, HIDDEN_MAX);
    return TG_OK;
}

static enum tgctl_exit audit_hash(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    static const struct table_column columns[] = {{"hmac", "HMAC"}, {NULL, NULL}};
    Tg__HashRequest request = TG__HASH_REQUEST__INIT;
    uint8_t value[HIDDEN_MAX];
    ProtobufCMessage *answer;
    struct tg_error err;
    json_t *row;

    if (read_hidden(arguments->positional[0], value, &request.value.len, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    request.value.data = value;
    if (tgctl_call(ctl, SERVICE_AUDIT, &tg__audit__descriptor, "Hash", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    row = json_object();
    row_text(row, "hmac", ((const Tg__HashResponse *)answer)->hmac);
    rpc_free_response(answer);
    return table_print_one(ctl, columns, row);
}

static enum tgctl_exit print_whole(const struct tgctl *ctl, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);
    char *pretty = line != NULL && !ctl->json ? json_dumps(line, JSON_INDENT(2)) : NULL;

    fprintf(ctl->out, "%s\n", pretty != NULL ? pretty : text);
    free(pretty);
    json_decref(line);
    return EXIT_DONE;
}

static enum tgctl_exit audit_show(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;
    enum tgctl_exit end = EXIT_NO;

    request.limit = 1;
    if (sequence_read(arguments->positional[0], &request.from_sequence, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (tgctl_call(ctl, SERVICE_AUDIT, &tg__audit__descriptor, "Query", &request.base, &answer, &err) !=
        TG_OK)
        return tgctl_failed(&err);
    const Tg__QueryResponse *page = (const Tg__QueryResponse *)answer;
    if (page->n_lines == 1)
        end = print_whole(ctl, page->lines[0]);
    else
        fprintf(stderr, "tgctl: there is no event %s\n", arguments->positional[0]);
    rpc_free_response(answer);
    return end;
}

static const struct tgctl_option log_options[] = {
    {"user", "USER", "only events of this user"},
    {"session", "SESSION", "only events of this session"},
    {"trace", "TRACE", "only events of one connection, from its first byte to its end"},
    {"event", "EVENT", "only this event, or all that start so when it ends in a full stop: login."},
    {"ticket", "HMAC", "only events about this ticket, as tgctl audit hash names it"},
    {"outcome", "OUTCOME", "only success, or only failure"},
    {"address", "ADDRESS", "only events of clients at this IP address"},
    {"since", "TIME", "2026-11-22T20:14:11Z, 2026-11-22, or how long ago: 90s, 15m, 2h, 7d"},
    {"until", "TIME", "the same"},
    {"limit", "N", "stop after so many"},
    {NULL, NULL, NULL},
};

const struct tgctl_command audit_commands[] = {
    {"audit", "list", {NULL}, log_options, "events, oldest first", audit_list},
    {"audit", "follow", {NULL}, log_options, "events as they happen, until interrupted", audit_follow},
    {"audit", "show", {"SEQUENCE"}, NULL, "one event, whole", audit_show},
    {"audit",
     "hash",
     {"TICKET"},
     NULL,
     "what stands in the log instead of this ticket; also of a client random or RADIUS Class, in hex",
     audit_hash},
    {.group = NULL},
};
