#include "services/gateway/events.h"

#include "common/pb.h"
#include "services/gateway/handshake.h"
#include "services/gateway/session.h"

static void add_handshake(Tg__Event *event, const struct handshake *h)
{
    if (h->has_ticket)
        event->ticket = pb_bytes(h->ticket, sizeof h->ticket);
    if (h->has_client_random)
        event->client_random = pb_bytes(h->client_random, sizeof h->client_random);
    event->radius_class = pb_bytes(h->radius_class, h->radius_class_len);
    event->shield_id = pb_string(h->info.shield_id);
    event->user = pb_string(h->user);
    event->session_id = pb_string(h->session_hex);
    if (h->policy != NULL)
        event->policy = pb_string(policy_name(h->policy));
}

static void add_session(Tg__Event *event, const struct session *session)
{
    event->shield_id = pb_string(session->shield_id);
    event->user = pb_string(session->user);
    event->session_id = pb_string(session->hex);
    event->policy = pb_string(policy_name(session->policy));
}

void event_init(Tg__Event *event, const struct connection *c, const char *name, const char *reason)
{
    tg__event__init(event);
    event->event = pb_string(name);
    event->outcome = reason == NULL ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event->reason = pb_string(reason);
    event->trace_id = pb_string(c->trace.hex);
    event->source = pb_string(c->source);
    event->qkud_id = pb_string(c->worker->gateway->qkud_id);
    if (c->handshake != NULL)
        add_handshake(event, c->handshake);
    if (c->session != NULL)
        add_session(event, c->session);
}
