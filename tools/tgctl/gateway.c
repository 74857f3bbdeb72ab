/* tgctl session: who is in, and out with them. */
#include "common/pb.h"
#include "proto/gateway.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

static const struct table_column session_columns[] = {
    {"session_id", "SESSION"}, {"user", "USER"},       {"source", "SOURCE"}, {"policy", "POLICY"},
    {"started", "STARTED"},    {"streams", "STREAMS"}, {"bytes_in", "IN"},   {"bytes_out", "OUT"},
    {"trace_id", "TRACE"},     {NULL, NULL},
};

static json_t *session_row(const Tg__Session *session)
{
    json_t *row = json_object();

    row_text(row, "session_id", session->session_id);
    row_text(row, "user", session->user);
    row_text(row, "source", session->source);
    row_text(row, "policy", session->policy);
    row_time(row, "started", session->started_s);
    row_number(row, "streams", session->streams);
    row_number(row, "bytes_in", session->bytes_in);
    row_number(row, "bytes_out", session->bytes_out);
    row_text(row, "trace_id", session->trace_id);
    return row;
}

/* One page; *after is the last session's id, for the next. */
static enum tg_code session_page(struct tgctl *ctl, char after[129], json_t *rows, bool *more,
                                 struct tg_error *err)
{
    Tg__SessionListRequest request = TG__SESSION_LIST_REQUEST__INIT;
    ProtobufCMessage *answer;

    request.after = after;
    TG_TRY(tgctl_call(ctl, SERVICE_GATEWAY, &tg__gateway__descriptor, "SessionList", &request.base, &answer,
                      err));
    const Tg__SessionListResponse *page = (const Tg__SessionListResponse *)answer;
    for (size_t i = 0; i < page->n_sessions; i++)
        json_array_append_new(rows, session_row(page->sessions[i]));
    *more = page->more && page->n_sessions > 0;
    if (*more)
        snprintf(after, 129, "%s", page->sessions[page->n_sessions - 1]->session_id);
    rpc_free_response(answer);
    return TG_OK;
}

static enum tgctl_exit session_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    json_t *rows = json_array();
    char after[129] = "";
    bool more = true;
    struct tg_error err;
    enum tg_code code = TG_OK;
    enum tgctl_exit shown;

    (void)arguments;
    while (code == TG_OK && more)
        code = session_page(ctl, after, rows, &more, &err);
    shown = code == TG_OK ? table_print(ctl, session_columns, rows) : tgctl_failed(&err);
    json_decref(rows);
    return shown;
}

static enum tgctl_exit session_kill(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    static const struct table_column columns[] = {{"killed", "KILLED"}, {NULL, NULL}};
    Tg__SessionKillRequest request = TG__SESSION_KILL_REQUEST__INIT;
    const char *reason = arguments_option(arguments, "reason");
    ProtobufCMessage *answer;
    struct tg_error err;
    json_t *row;

    request.session_id = pb_string(arguments->positional[0]);
    request.reason = pb_string(reason != NULL ? reason : "ended by an operator");
    if (tgctl_call(ctl, SERVICE_GATEWAY, &tg__gateway__descriptor, "SessionKill", &request.base, &answer,
                   &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    row = json_object();
    row_text(row, "killed", arguments->positional[0]);
    return table_print_one(ctl, columns, row);
}

static const struct tgctl_option kill_options[] = {
    {"reason", "TEXT", "what the user and the audit log are told"},
    {NULL, NULL, NULL},
};

const struct tgctl_command gateway_commands[] = {
    {"session", "list", {NULL}, NULL, "who is logged in", session_list},
    {"session", "kill", {"SESSION"}, kill_options, "end a session and its streams now", session_kill},
    {.group = NULL},
};
