/* tgctl audit: what happened, as the audit service keeps it. */
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/ticket.h"
#include "common/trace.h"
#include "proto/audit.pb-c.h"
#include "tools/tgctl/audit_reader.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { HIDDEN_MAX = 256 };

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

static enum tg_code put_line(void *arg, const char *text, struct tg_error *err)
{
    const struct tgctl *ctl = arg;

    (void)err;
    if (ctl->json)
        fprintf(ctl->out, "%s\n", text);
    else
        put_for_people(ctl->out, text);
    return TG_OK;
}

/* Prints pages: to the end of the log, or (follow) on and on until the limit or the output's end. */
static enum tgctl_exit print_log(struct tgctl *ctl, const struct tgctl_arguments *arguments, bool follow)
{
    struct audit_reader reader;
    struct tg_error err;
    enum tg_code code = audit_reader_open(ctl, arguments, &reader, &err);

    if (code != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (follow && reader.request.since_us == 0)
        code = audit_reader_skip(&reader, &err);
    audit_reader_follow(&reader, follow);
    while (code == TG_OK && audit_reader_more(&reader) && fflush(ctl->out) == 0)
        code = audit_reader_page(&reader, put_line, ctl, &err);
    audit_reader_close(&reader);
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

static const struct tgctl_option log_options[] = {AUDIT_READER_OPTIONS, {NULL, NULL, NULL}};

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
