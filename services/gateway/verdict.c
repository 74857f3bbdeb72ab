/* Steps 11 to 13: login info goes to the intranet over RADIUS, and its answer to the client. Nobody is let in
 * before the audit log holds the event durably. */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "proto/radius_bridge.pb-c.h"
#include "services/gateway/calls.h"
#include "services/gateway/events.h"
#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"
#include "services/gateway/terms.h"

enum { TARGETS_SHOWN = 64, MARGIN_MS = AUDIT_BUDGET_MS + 500, TEXT_MAX = 253 };

/* ---- WELCOME (step 13) ---- */

static void send_welcome(struct connection *c)
{
    const struct gateway *g = c->worker->gateway;
    const struct handshake *h = c->handshake;
    Tg__Target targets[TARGETS_SHOWN], *list[TARGETS_SHOWN];
    Tg__Welcome welcome = TG__WELCOME__INIT;
    for (size_t i = 0; i < TARGETS_SHOWN; i++)
        list[i] = &targets[i];
    welcome.session_id = pb_bytes(h->session_id, sizeof h->session_id);
    welcome.session_timeout_s = h->session_timeout_s;
    welcome.idle_timeout_s = h->idle_timeout_s;
    welcome.max_streams = g->max_streams;
    welcome.stream_window = g->stream_window;
    welcome.banner = pb_string(h->banner);
    welcome.policy = pb_string(policy_name(h->policy));
    welcome.targets = list;
    welcome.n_targets = policy_targets(h->policy, targets, TARGETS_SHOWN);
    /* The list is for people; as much of it as one frame holds. */
    while (tg__welcome__get_packed_size(&welcome) > FRAME_MAX_BEFORE_LOGIN - FRAME_HEADER_LEN)
        welcome.n_targets /= 2;
    connection_send_message(c, FRAME_WELCOME, 0, &welcome.base, NULL);
}

static enum tg_code on_audited(struct connection *c, enum tg_code status, const char *text,
                               const ProtobufCMessage *response, struct tg_error *err)
{
    (void)response;
    c->handshake->accepted_reported = status == TG_OK;
    TG_ENSURE(status == TG_OK, err, TG_UNAVAILABLE,
              "login.accepted was not in the audit log within %d ms: %s", AUDIT_BUDGET_MS, text);
    send_welcome(c);
    return session_start(c, err);
}

/* ---- the three verdicts (step 12) ---- */

/* RADIUS (Filter-Id) decides, else the shield, else the gateway's default. A policy that is named but not
 * known is never replaced by another one. */
static enum tg_code choose_policy(struct connection *c, const char *filter_id, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    const char *name = filter_id[0] != '\0' ? filter_id : h->info.policy;
    if (name[0] == '\0')
        name = c->terms->default_policy;
    TG_ENSURE(name[0] != '\0', err, TG_PERMISSION_DENIED,
              "neither RADIUS nor shield nor default_policy names a policy");
    h->policy = policy_find(c->terms->policies, name);
    TG_ENSURE(h->policy != NULL, err, TG_PERMISSION_DENIED, "there is no policy %s", name);
    return TG_OK;
}

static enum tg_code take_place(struct connection *c, struct tg_error *err)
{
    TG_ENSURE(admission_session_enter(c->worker->gateway->admission), err, TG_RESOURCE_EXHAUSTED,
              "max_sessions is reached");
    c->in_session = true;
    return TG_OK;
}

static enum tg_code accept_login(struct connection *c, const Tg__LoginResponse *verdict, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    Tg__Event event;
    TG_ENSURE(verdict->klass.len <= sizeof h->radius_class, err, TG_UNAVAILABLE,
              "the RADIUS bridge's Class is too long");
    h->radius_class_len = verdict->klass.len;
    if (verdict->klass.len > 0)
        memcpy(h->radius_class, verdict->klass.data, verdict->klass.len);
    TG_TRY(choose_policy(c, verdict->filter_id, err));
    TG_TRY(take_place(c, err));
    h->session_timeout_s = verdict->session_timeout_s;
    h->idle_timeout_s = verdict->idle_timeout_s;
    snprintf(h->banner, sizeof h->banner, "%s", verdict->reply_message);
    event_init(&event, c, "login.accepted", NULL);
    h->accepted_reported = true;
    call_audit(c, &event, AUDIT_BUDGET_MS, on_audited);
    return TG_OK;
}

static enum tg_code challenge(struct connection *c, const Tg__LoginResponse *verdict, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    Tg__Challenge message = TG__CHALLENGE__INIT;
    TG_ENSURE(h->round < ORDER_CHALLENGE_ROUNDS, err, TG_UNAUTHENTICATED,
              "RADIUS asks for more than %d rounds", ORDER_CHALLENGE_ROUNDS);
    TG_ENSURE(verdict->state.len <= sizeof h->radius_state &&
                  strlen(verdict->server) < sizeof h->radius_server,
              err, TG_UNAVAILABLE, "the RADIUS bridge's challenge is too long");
    h->radius_state_len = verdict->state.len;
    if (verdict->state.len > 0)
        memcpy(h->radius_state, verdict->state.data, verdict->state.len);
    snprintf(h->radius_server, sizeof h->radius_server, "%s", verdict->server);
    snprintf(h->banner, sizeof h->banner, "%s", verdict->reply_message);
    message.prompt = h->banner;
    message.echo = verdict->echo;
    message.round = ++h->round;
    connection_send_message(c, FRAME_CHALLENGE, 0, &message.base, NULL);
    return TG_OK;
}

static enum tg_code on_verdict(struct connection *c, enum tg_code status, const char *text,
                               const ProtobufCMessage *response, struct tg_error *err)
{
    TG_ENSURE(status == TG_OK, err, TG_UNAVAILABLE, "%s: %s", tg_code_name(status), text);
    const Tg__LoginResponse *verdict = (const Tg__LoginResponse *)response;
    switch ((unsigned)verdict->outcome) {
    case TG__LOGIN_RESPONSE__OUTCOME__ACCEPT:
        return accept_login(c, verdict, err);
    case TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE:
        return challenge(c, verdict, err);
    case TG__LOGIN_RESPONSE__OUTCOME__REJECT:
        return tg_fail(err, TG_UNAUTHENTICATED, "RADIUS rejects the login: %s", verdict->reply_message);
    default:
        return tg_fail(err, TG_UNAVAILABLE, "the RADIUS bridge gave no verdict");
    }
}

/* ---- the question (step 11) ---- */

enum tg_code verdict_ask(struct connection *c, const void *password, size_t len, struct tg_error *err)
{
    (void)err;
    const struct gateway *g = c->worker->gateway;
    const struct handshake *h = c->handshake;
    Tg__LoginRequest login = TG__LOGIN_REQUEST__INIT;
    uint32_t deadline = order_deadline_ms(ORDER_VERDICT);
    char address[CONNECTION_SOURCE_LEN];
    snprintf(address, sizeof address, "%.*s", (int)(strrchr(c->source, ':') - c->source), c->source);
    if (deadline > g->login_timeout_ms)
        deadline = g->login_timeout_ms;
    login.user = pb_string(h->user);
    login.password = pb_bytes(password, len);
    login.state = pb_bytes(h->radius_state, h->radius_state_len);
    login.server = pb_string(h->radius_server);
    login.calling_station = address;
    login.session_id = pb_string(h->session_hex);
    login.nas_identifier = pb_string(g->qkud_id);
    const struct rpc_request request = {
        .service = &tg__radius_bridge__descriptor,
        .method = "Login",
        .message = &login.base,
        .budget_ms = deadline > 2 * MARGIN_MS ? deadline - MARGIN_MS : deadline / 2,
        .trace = c->trace.hex,
    };
    call_service(c, g->bridge, &request, on_verdict);
    return TG_OK;
}
