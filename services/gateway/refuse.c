#include "services/gateway/refuse.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "services/gateway/events.h"
#include "services/gateway/handshake.h"
#include "services/gateway/session.h"

/* One text for all of ticket, key, encrypted random, user, password and client random. */
static const char *const texts[TG_CODE_COUNT] = {
    [TG_INVALID_ARGUMENT] = "the client did not keep to the protocol",
    [TG_DEADLINE_EXCEEDED] = "the client took too long",
    [TG_UNIMPLEMENTED] = "client and gateway have no protocol version or cipher suite in common",
    [TG_UNAUTHENTICATED] = "authentication failed",
    [TG_FAILED_PRECONDITION] = "this gateway takes login info only when it is sealed with the quantum key",
    [TG_PERMISSION_DENIED] = "no policy of this gateway lets this login reach anything",
    [TG_RESOURCE_EXHAUSTED] = "the gateway is full, try again later",
    [TG_UNAVAILABLE] = "the gateway cannot log in anyone at the moment, try again later",
};

static enum tg_code public_code(enum tg_code code)
{
    if (code == TG_OUT_OF_RANGE)
        return TG_INVALID_ARGUMENT;
    return code < TG_CODE_COUNT && texts[code] != NULL ? code : TG_UNAVAILABLE;
}

const char *refuse_text(enum tg_code code)
{
    return texts[public_code(code)];
}

/* In the middle of a TLS handshake no frame can be sent; TLS has sent its alert. */
static bool can_send_frames(const struct connection *c)
{
    return c->ssl != NULL && c->state != ORDER_TLS && c->state != ORDER_CHANNEL;
}

static void send_refused(struct connection *c, enum tg_code code)
{
    Tg__Refused refused = TG__REFUSED__INIT;
    refused.code = public_code(code);
    refused.text = pb_string(refuse_text(code));
    refused.trace_id = pb_string(c->trace.hex);
    connection_send_message(c, FRAME_REFUSED, 0, &refused.base, NULL);
}

/* Who has shown no ticket yet costs nothing but a connection, so such refusals are recorded at a bounded
 * rate: strangers must not fill the audit log's disk. What was left out is counted in the next one. */
static bool is_stranger(const struct connection *c)
{
    return c->handshake == NULL || !c->handshake->has_ticket;
}

static bool is_recorded(struct connection *c, uint64_t *left_out)
{
    *left_out = 0;
    return !is_stranger(c) || rate_allows(&c->worker->gateway->strangers, left_out);
}

/* Tickets are taken only while the queue has room, so there are only so many to have a last word about. */
static void post(struct connection *c, const Tg__Event *event, uint64_t left_out)
{
    struct gateway *g = c->worker->gateway;
    if (!is_stranger(c))
        audit_post_last(g->audit, event);
    else if (!audit_post(g->audit, event))
        rate_hold_back(&g->strangers, left_out + 1);
}

static void record(struct connection *c, const struct tg_error *why)
{
    const char *name = c->state <= ORDER_CHANNEL ? "handshake.refused" : "login.refused";
    char detail[64] = "";
    uint64_t left_out;
    Tg__Event event;
    if (!is_recorded(c, &left_out))
        return;
    if (left_out > 0)
        snprintf(detail, sizeof detail, "%" PRIu64 " more before it were not recorded", left_out);
    LOG(LOG_WARNING, c->trace.hex, name, LOG_TEXT("source", c->source),
        LOG_TEXT("state", order_state_name(c->state)), LOG_ERR(why),
        LOG_NUMBER("not_recorded_before", left_out));
    event_init(&event, c, name, why->text);
    event.detail = detail;
    post(c, &event, left_out);
}

void refuse(struct connection *c, const struct tg_error *why)
{
    if (c->closed || c->leaving)
        return;
    if (c->session != NULL) {
        session_bye(c, public_code(why->code), refuse_text(why->code), why->text);
        return;
    }
    record(c, why);
    if (can_send_frames(c))
        send_refused(c, why->code);
    connection_leave(c);
}

void refuse_for_restart(struct connection *c)
{
    struct tg_error why;
    if (c->session != NULL) {
        session_bye(c, TG_UNAVAILABLE, "the gateway is restarting: connect again in a moment",
                    "the gateway stops");
        return;
    }
    tg_fail(&why, TG_UNAVAILABLE, "the gateway stops");
    refuse(c, &why);
}

void refuse_absent(struct connection *c)
{
    struct tg_error why;
    const struct handshake *h = c->handshake;
    if (c->leaving || h == NULL || !h->has_ticket || h->accepted_reported)
        return;
    tg_fail(&why, TG_CANCELLED, "the client went away %s", order_state_name(c->state));
    record(c, &why);
}
