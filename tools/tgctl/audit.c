/* tgctl audit: what happened, as the audit service keeps it. */
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/trace.h"
#include "proto/audit.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { PAGE = 500, FOLLOW_WAIT_MS = 20000 };

/* Reads a page from `request` on, and moves it on to the next. */
struct log_reader {
    const struct tgctl *ctl;
    struct rpc_client *client;
    Tg__QueryRequest request;
    uint64_t left; /* lines to print at most */
    bool more;
};

/* What a line shows people; JSON shows it as it is stored. */
static const char *const shown[] = {"user",    "source",    "session_id", "target", "policy",
                                    "qkud_id", "shield_id", "peer",       "reason", "detail"};

static void put_text(FILE *out, const json_t *line, const char *key, int width)
{
    char *text = table_cell(json_object_get(line, key));

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
    put_text(out, json_object_get(line, "metadata"), "sequence", 6);
    put_text(out, line, "time", 27);
    put_text(out, line, "service", 15);
    put_text(out, line, "event", 22);
    put_text(out, line, "outcome", 7);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const json_t *value = json_object_get(line, shown[i]);
        char *cell = value != NULL ? table_cell(value) : NULL;

        if (cell != NULL && cell[0] != '\0')
            fprintf(out, " %s=%s", shown[i], cell);
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

static enum tg_code reader_open(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                                struct log_reader *reader, struct tg_error *err)
{
    uint32_t limit;

    *reader = (struct log_reader){.ctl = ctl, .request = TG__QUERY_REQUEST__INIT, .more = true};
    reader->request.user = pb_string(arguments_option(arguments, "user"));
    reader->request.session_id = pb_string(arguments_option(arguments, "session"));
    reader->request.trace_id = pb_string(arguments_option(arguments, "trace"));
    reader->request.event = pb_string(arguments_option(arguments, "event"));
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

static const struct tgctl_option log_options[] = {
    {"user", "USER", "only events of this user"},
    {"session", "SESSION", "only events of this session"},
    {"trace", "TRACE", "only events of one connection, from its first byte to its end"},
    {"event", "EVENT", "only this event, or all that start so when it ends in a full stop: login."},
    {"since", "TIME", "2026-11-22T20:14:11Z, 2026-11-22, or how long ago: 90s, 15m, 2h, 7d"},
    {"until", "TIME", "the same"},
    {"limit", "N", "stop after so many"},
    {NULL, NULL, NULL},
};

const struct tgctl_command audit_commands[] = {
    {"audit", "list", {NULL}, log_options, "events, oldest first", audit_list},
    {"audit", "follow", {NULL}, log_options, "events as they happen, until interrupted", audit_follow},
    {.group = NULL},
};
