#include "tools/tgctl/audit_reader.h"

#include <strings.h>

#include "common/pb.h"

enum { PAGE = 500, FOLLOW_WAIT_MS = 20000 };

/* What the service does not know it refuses, by name. */
static const char *status_of(const char *outcome)
{
    if (outcome != NULL && strcasecmp(outcome, "success") == 0)
        return "Success";
    return outcome != NULL && strcasecmp(outcome, "failure") == 0 ? "Failure" : outcome;
}

enum tg_code audit_reader_open(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                               struct audit_reader *reader, struct tg_error *err)
{
    uint32_t limit;

    *reader = (struct audit_reader){.ctl = ctl, .request = TG__QUERY_REQUEST__INIT, .more = true};
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

void audit_reader_follow(struct audit_reader *reader, bool follow)
{
    reader->follow = follow;
    reader->request.wait_ms = follow ? FOLLOW_WAIT_MS : 0;
}

static enum tg_code discard(void *arg, const char *line, struct tg_error *err)
{
    (void)arg;
    (void)line;
    (void)err;
    return TG_OK;
}

enum tg_code audit_reader_skip(struct audit_reader *reader, struct tg_error *err)
{
    const uint64_t left = reader->left, since_us = reader->request.since_us;

    reader->request.since_us = UINT64_MAX; /* which no event has: the service passes over all of them */
    while (reader->more) {
        TG_TRY(audit_reader_page(reader, discard, NULL, err));
        reader->left = left;
    }
    reader->request.since_us = since_us;
    return TG_OK;
}

bool audit_reader_more(const struct audit_reader *reader)
{
    return reader->left > 0 && (reader->more || reader->follow);
}

static enum tg_code take_all(struct audit_reader *reader, const Tg__QueryResponse *page, audit_take *take,
                             void *arg, struct tg_error *err)
{
    for (size_t i = 0; i < page->n_lines && i < reader->left; i++)
        TG_TRY(take(arg, page->lines[i], err));
    reader->left -= page->n_lines < reader->left ? page->n_lines : reader->left;
    reader->request.from_sequence = page->next_sequence;
    reader->more = page->more;
    return TG_OK;
}

/* The patience of a call, and on top of it what the service may wait for something to tell. */
static uint32_t budget_of(const struct audit_reader *reader)
{
    uint32_t budget = (uint32_t)reader->ctl->config.timeout + reader->request.wait_ms;

    return budget < RPC_BUDGET_MAX_MS ? budget : RPC_BUDGET_MAX_MS;
}

enum tg_code audit_reader_page(struct audit_reader *reader, audit_take *take, void *arg, struct tg_error *err)
{
    struct rpc_request call = {
        .service = &tg__audit__descriptor,
        .method = "Query",
        .message = &reader->request.base,
        .budget_ms = budget_of(reader),
        .idempotent = true,
    };
    ProtobufCMessage *answer;

    reader->request.limit = reader->left < PAGE ? (uint32_t)reader->left : PAGE;
    TG_TRY(rpc_call_wait(reader->client, &call, &answer, err));
    enum tg_code code = take_all(reader, (const Tg__QueryResponse *)answer, take, arg, err);
    rpc_free_response(answer);
    return code;
}

void audit_reader_close(struct audit_reader *reader)
{
    rpc_client_close(reader->client);
}
