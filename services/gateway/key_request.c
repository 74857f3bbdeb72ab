/* Step 7: the ticket goes to the key centre in a key request; step 8, there, answers with ticket info. */
#include <string.h>

#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "proto/ticket_resolver.pb-c.h"
#include "services/gateway/calls.h"
#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"

enum { MARGIN_MS = 500 }; /* so that the refusal reaches the client before it gives up by itself */

/* What the client is told when there is no ticket info. Whatever the key centre has against the ticket sounds
 * the same. */
static enum tg_code refusal_for(enum tg_code status)
{
    switch ((unsigned)status) {
    case TG_INVALID_ARGUMENT:
    case TG_NOT_FOUND:
    case TG_PERMISSION_DENIED:
    case TG_FAILED_PRECONDITION:
    case TG_UNAUTHENTICATED:
        return TG_UNAUTHENTICATED;
    default:
        return TG_UNAVAILABLE;
    }
}

static enum tg_code on_ticket_info(struct connection *c, enum tg_code status, const char *text,
                                   const ProtobufCMessage *response, struct tg_error *err)
{
    TG_ENSURE(status == TG_OK, err, refusal_for(status), "%s: %s", tg_code_name(status), text);
    const Tg__ResolveResponse *answer = (const Tg__ResolveResponse *)response;
    return handshake_proof(c, answer->ticket_info.data, answer->ticket_info.len, err);
}

static void ask(struct connection *c)
{
    const struct gateway *g = c->worker->gateway;
    struct handshake *h = c->handshake;
    Tg__ResolveRequest resolve = TG__RESOLVE_REQUEST__INIT;
    uint32_t deadline = order_deadline_ms(ORDER_AUTHENTICATED);
    if (deadline > g->handshake_timeout_ms)
        deadline = g->handshake_timeout_ms;
    random_bytes(h->request_id, sizeof h->request_id);
    resolve.ticket = pb_bytes(h->ticket, sizeof h->ticket);
    resolve.qkud_id = pb_string(g->qkud_id);
    resolve.source = c->source;
    const struct rpc_request request = {
        .service = &tg__ticket_resolver__descriptor,
        .method = "Resolve",
        .message = &resolve.base,
        .budget_ms = deadline > 2 * MARGIN_MS ? deadline - MARGIN_MS : deadline / 2,
        .trace = c->trace.hex,
        .request_id = h->request_id, /* ticket info is sealed to it */
        .idempotent = true,
    };
    call_service(c, g->resolver, &request, on_ticket_info);
}

enum tg_code key_request_on_authenticate(struct connection *c, const struct message *message,
                                         struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    struct handshake *h = c->handshake;
    const char *trouble = audit_client_trouble(c->worker->gateway->audit);
    TG_TRY(dispatch_unpack(message, &tg__authenticate__descriptor, &unpacked, err));
    const Tg__Authenticate *authenticate = (const Tg__Authenticate *)unpacked;
    TG_ENSURE(authenticate->ticket.len == TICKET_LEN, err, TG_INVALID_ARGUMENT, "a ticket of %zu bytes",
              authenticate->ticket.len);
    TG_ENSURE(authenticate->encrypted_random.len == SM3_LEN + suite_tag_len(h->suite), err,
              TG_INVALID_ARGUMENT, "an encrypted random of %zu bytes", authenticate->encrypted_random.len);
    /* Before a key is spent on a login that could not be recorded. */
    TG_ENSURE(trouble == NULL, err, TG_UNAVAILABLE, "%s", trouble);
    memcpy(h->ticket, authenticate->ticket.data, TICKET_LEN);
    h->has_ticket = true;
    h->sealed_digest_len = authenticate->encrypted_random.len;
    memcpy(h->sealed_digest, authenticate->encrypted_random.data, h->sealed_digest_len);
    /* th_ticket is taken over HELLO and IDENTITY, so before this frame is added. */
    transcript_hash(h->transcript, h->ticket, TICKET_LEN, h->th);
    transcript_add(h->transcript, message->frame, FRAME_HEADER_LEN + message->header.length);
    ask(c);
    return TG_OK;
}
