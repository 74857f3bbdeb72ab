/* A key request (steps 7 and 8). What is wrong with a ticket by itself is found here, cheaply and without the
 * key store; whether its key may still be spent, the key store alone knows. */
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "proto/key_store.pb-c.h"
#include "proto/ticket_resolver.pb-c.h"
#include "ticket-resolver.h"

/* Names first: what is audited must be bounded. */
static enum tg_code check_names(const Tg__ResolveRequest *request, struct tg_error *err)
{
    TG_TRY(name_check_id("QKUD id", request->qkud_id, err));
    return name_check_text("source", request->source, err);
}

static enum tg_code check_ticket(const struct ticket_resolver *tr, const ProtobufCBinaryData *bytes,
                                 struct tg_error *err)
{
    struct ticket ticket;
    TG_TRY(ticket_decode(bytes->data, bytes->len, tr->ticket_key, tr->now_s(), &ticket, err));
    TG_ENSURE(memcmp(ticket.centre, tr->centre, TICKET_CENTRE_LEN) == 0, err, TG_UNAUTHENTICATED,
              "the ticket is another centre's");
    return TG_OK;
}

/* Auditors hear of it in any case; the caller need not wait for that, since nothing is given out. When they
 * cannot, the caller hears that instead, and his own report says so. */
static void refuse(struct ticket_resolver *tr, struct rpc_call *call, const Tg__ResolveRequest *request,
                   const struct tg_error *err)
{
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("ticket.refused");
    event.outcome = TG__EVENT__OUTCOME__FAILURE;
    event.reason = pb_string(err->text);
    event.trace_id = pb_string(rpc_call_trace(call));
    if (request->ticket.len == TICKET_LEN)
        event.ticket = request->ticket;
    event.source = request->source;
    event.qkud_id = request->qkud_id;
    event.peer = pb_string("gateway");
    if (audit_post(tr->audit, &event))
        rpc_fail(call, err->code, "%s", err->text);
    else
        rpc_fail(call, TG_UNAVAILABLE, "too many events wait for the audit service: nothing was done (%s)",
                 err->text);
}

static void spent(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *message)
{
    struct rpc_call *call = arg;
    if (status != TG_OK) {
        rpc_fail(call, status, "%s", text);
        return;
    }
    Tg__ResolveResponse response = TG__RESOLVE_RESPONSE__INIT;
    response.ticket_info = ((const Tg__SpendResponse *)message)->ticket_info;
    rpc_reply(call, &response.base);
}

/* Under the gateway's own request id: so a gateway that asks again, through whatever resolver, gets the same
 * answer. */
static void spend(struct ticket_resolver *tr, struct rpc_call *call, const Tg__ResolveRequest *request)
{
    Tg__SpendRequest spend = TG__SPEND_REQUEST__INIT;
    spend.ticket = request->ticket;
    spend.qkud_id = request->qkud_id;
    spend.source = request->source;
    uint32_t budget = rpc_call_remaining_ms(call);
    if (budget == 0) {
        rpc_fail(call, TG_DEADLINE_EXCEEDED,
                 "the call's time was over before its turn came: nothing was done");
        return;
    }
    rpc_start(tr->key_store,
              &(struct rpc_request){.service = &tg__key_store__descriptor,
                                    .method = "Spend",
                                    .message = &spend.base,
                                    .budget_ms = budget,
                                    .trace = rpc_call_trace(call),
                                    .request_id = rpc_call_request_id(call),
                                    .idempotent = true},
              spent, call);
}

void handle_resolve(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct ticket_resolver *tr = rpc_call_context(call);
    const Tg__ResolveRequest *request = (const Tg__ResolveRequest *)message;
    struct tg_error err;
    if (check_names(request, &err) != TG_OK)
        rpc_fail(call, err.code, "%s", err.text);
    else if (check_ticket(tr, &request->ticket, &err) != TG_OK)
        refuse(tr, call, request, &err);
    else
        spend(tr, call, request);
}
