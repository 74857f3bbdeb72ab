/* Step 14: the session's start, end and timeouts. */
#include "services/gateway/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "services/gateway/events.h"
#include "services/gateway/steps.h"
#include "services/gateway/streams.h"

static struct session *session_new(const struct connection *c)
{
    const struct handshake *h = c->handshake;
    uint64_t now = uv_now(&c->worker->loop);
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    memcpy(s->id, h->session_id, sizeof s->id);
    memcpy(s->hex, h->session_hex, sizeof s->hex);
    memcpy(s->user, h->user, sizeof s->user);
    memcpy(s->shield_id, h->info.shield_id, sizeof s->shield_id);
    s->policy = h->policy;
    s->started_us = clock_unix_us();
    s->active_ms = now;
    s->idle_ms = (uint64_t)h->idle_timeout_s * 1000;
    s->ends_ms = h->session_timeout_s > 0 ? now + (uint64_t)h->session_timeout_s * 1000 : 0;
    return s;
}

static void stop_being_half_open(struct connection *c)
{
    admission_leave(c->worker->gateway->admission, c->half_open_source);
    c->half_open = false;
}

enum tg_code session_start(struct connection *c, struct tg_error *err)
{
    c->session = session_new(c);
    TG_ENSURE(c->session != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    handshake_free(c->handshake); /* with all that is left of its secrets */
    c->handshake = NULL;
    stop_being_half_open(c);
    SSL_clear_options(c->ssl, SSL_OP_CLEANSE_PLAINTEXT); /* the handshake's secrets are through */
    LOG(LOG_INFO, c->trace.hex, "session.started", LOG_TEXT("session", c->session->hex),
        LOG_TEXT("user", c->session->user), LOG_TEXT("source", c->source),
        LOG_TEXT("policy", policy_name(c->session->policy)));
    session_on_timer(c);
    return TG_OK;
}

static void report_ended(const struct connection *c, const char *cause, uint64_t bytes_in, uint64_t bytes_out)
{
    Tg__Event event;
    event_init(&event, c, "session.ended", NULL);
    event.bytes_in = bytes_in;
    event.bytes_out = bytes_out;
    event.detail = pb_string(cause);
    audit_post_last(c->worker->gateway->audit, &event);
    LOG(LOG_INFO, c->trace.hex, "session.ended", LOG_TEXT("session", event.session_id),
        LOG_TEXT("user", event.user), LOG_TEXT("cause", cause), LOG_NUMBER("bytes_in", bytes_in),
        LOG_NUMBER("bytes_out", bytes_out));
}

void session_end(struct connection *c)
{
    struct session *s = c->session;
    if (s == NULL) {
        /* login.accepted is in the log, but the client was gone before WELCOME: the log must not keep it
         * open. */
        if (c->handshake != NULL && c->handshake->accepted_reported)
            report_ended(c, "the client was gone before it was welcomed", 0, 0);
        if (c->handshake != NULL)
            c->handshake->accepted_reported = false;
        return;
    }
    streams_end_all(c);
    report_ended(c, s->cause[0] != '\0' ? s->cause : "the connection was lost", s->bytes_in, s->bytes_out);
    c->session = NULL;
    free(s);
}

void session_bye(struct connection *c, enum tg_code code, const char *text, const char *cause)
{
    Tg__Bye bye = TG__BYE__INIT;
    if (c->closed || c->leaving)
        return;
    snprintf(c->session->cause, sizeof c->session->cause, "%s", cause);
    bye.code = code;
    bye.text = pb_string(text);
    connection_send_message(c, FRAME_BYE, 0, &bye.base, NULL);
    connection_leave(c);
}

void session_on_timer(struct connection *c)
{
    struct session *s = c->session;
    uint64_t now = uv_now(&c->worker->loop), next = UINT64_MAX;
    if (s->ends_ms > 0 && now >= s->ends_ms) {
        session_bye(c, TG_DEADLINE_EXCEEDED, "the session's time is over: log in again", "Session-Timeout");
        return;
    }
    if (s->idle_ms > 0 && now >= s->active_ms + s->idle_ms) {
        session_bye(c, TG_DEADLINE_EXCEEDED, "the session was idle for too long: log in again",
                    "Idle-Timeout");
        return;
    }
    if (s->ends_ms > 0)
        next = s->ends_ms;
    if (s->idle_ms > 0 && s->active_ms + s->idle_ms < next)
        next = s->active_ms + s->idle_ms;
    if (next == UINT64_MAX)
        uv_timer_stop(&c->timer); /* neither: nothing to wait for */
    else
        connection_set_timer(c, next - now);
}

void session_unblocked(struct connection *c)
{
    streams_resume(c);
}

/* ---- the client's frames on the connection itself ---- */

enum tg_code session_on_ping(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *ping = NULL;
    TG_TRY(dispatch_unpack(message, &tg__ping__descriptor, &ping, err));
    connection_send_message(c, FRAME_PONG, 0, ping, NULL); /* PONG carries the same */
    return TG_OK;
}

enum tg_code session_on_pong(struct connection *c, const struct message *message, struct tg_error *err)
{
    (void)c;
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *pong = NULL;
    return dispatch_unpack(message, &tg__ping__descriptor, &pong, err);
}

enum tg_code session_on_bye(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *bye = NULL;
    TG_TRY(dispatch_unpack(message, &tg__bye__descriptor, &bye, err));
    snprintf(c->session->cause, sizeof c->session->cause, "the client ended it");
    connection_leave(c);
    return TG_OK;
}
