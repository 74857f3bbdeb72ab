#include "services/gateway/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "services/gateway/calls.h"
#include "services/gateway/dispatch.h"
#include "services/gateway/events.h"
#include "services/gateway/session.h"
#include "services/gateway/steps.h"
#include "services/gateway/target.h"

/* ---- the table of a session's streams ---- */

static struct stream **bucket(struct session *session, uint32_t number)
{
    return &session->buckets[number / 2 % SESSION_BUCKETS];
}

static struct stream *find(struct session *session, uint32_t number)
{
    struct stream *s = *bucket(session, number);
    while (s != NULL && s->number != number)
        s = s->next;
    return s;
}

/* NULL: it has ended, and the frame is to be ignored. OUT_OF_RANGE: it never was. */
static enum tg_code find_for(struct connection *c, const struct message *message, struct stream **s,
                             struct tg_error *err)
{
    uint32_t number = message->header.stream;
    *s = find(c->session, number);
    TG_ENSURE(*s != NULL || (number % 2 == 1 && number <= c->session->last_number), err, TG_OUT_OF_RANGE,
              "%s for stream %u, which was never opened", frame_name(message->header.type), number);
    if (*s != NULL && (*s)->flow.phase == STREAM_ENDED) /* only waits for its target to take the rest */
        *s = NULL;
    return TG_OK;
}

static struct stream *add(struct connection *c, uint32_t number)
{
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->connection = c;
    s->number = number;
    stream_init(&s->flow, c->worker->gateway->stream_window);
    byte_queue_init(&s->to_target, c->worker->gateway->stream_window);
    struct stream **first = bucket(c->session, number);
    s->next = *first;
    *first = s;
    c->session->stream_count++;
    return s;
}

static void forget_paused(struct session *session, struct stream *s)
{
    struct stream **link = &session->paused;
    if (!s->paused)
        return;
    while (*link != s)
        link = &(*link)->next_paused;
    *link = s->next_paused;
    s->paused = false;
}

/* ---- what the audit log hears ---- */

enum { TARGET_LEN = POLICY_HOST_MAX + 16 };

/* `target` is lent to the event. A host that is too long to be one is cut: the log gets no more than a name
 * can hold. */
static void describe(Tg__Event *event, const struct connection *c, const char *name, const char *reason,
                     const char *host, uint32_t port, char target[TARGET_LEN])
{
    snprintf(target, TARGET_LEN, "%.*s:%u", POLICY_HOST_MAX, host, port);
    event_init(event, c, name, reason);
    event->target = target;
}

static void report_closed(const struct stream *s)
{
    Tg__Event event;
    char target[TARGET_LEN];
    describe(&event, s->connection, "stream.closed", NULL, s->host, s->port, target);
    event.bytes_in = s->bytes_in;
    event.bytes_out = s->bytes_out;
    audit_post_last(s->connection->worker->gateway->audit, &event);
}

/* Out of the table at once; freed when no function up the stack can hold it any more. */
static void end(struct stream *s)
{
    struct connection *c = s->connection;
    struct worker *worker = c->worker;
    struct stream **link = bucket(c->session, s->number);
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    forget_paused(c->session, s);
    c->session->stream_count--;
    stream_end(&s->flow);
    if (s->opened)
        report_closed(s);
    if (worker->gather_owner == s) {
        worker->gather_owner = NULL;
        worker->gather_count = 0;
    }
    target_close(s);
    s->next = worker->ended_streams;
    worker->ended_streams = s;
    LOG(LOG_DEBUG, c->trace.hex, "stream.ended", LOG_NUMBER("stream", s->number), LOG_TEXT("host", s->host),
        LOG_NUMBER("port", s->port), LOG_NUMBER("bytes_in", s->bytes_in),
        LOG_NUMBER("bytes_out", s->bytes_out));
}

void streams_free_ended(struct worker *worker)
{
    while (worker->ended_streams != NULL) {
        struct stream *s = worker->ended_streams;
        worker->ended_streams = s->next;
        byte_queue_fini(&s->to_target);
        free(s);
    }
}

void streams_end_all(struct connection *c)
{
    for (unsigned i = 0; i < SESSION_BUCKETS; i++)
        while (c->session->buckets[i] != NULL)
            end(c->session->buckets[i]);
}

void streams_resume(struct connection *c)
{
    struct session *session = c->session;
    while (session->paused != NULL && !connection_blocked(c)) {
        struct stream *s = session->paused;
        session->paused = s->next_paused;
        s->paused = false;
        target_update_poll(s);
    }
}

/* ---- OPEN ---- */

static const char no_audit[] = "the audit log is not available, try again later";

static void send_opened(struct connection *c, uint32_t number, enum tg_code code, const char *text)
{
    Tg__Opened opened = TG__OPENED__INIT;
    opened.code = code;
    opened.text = pb_string(text);
    connection_send_message(c, FRAME_OPENED, number, &opened.base, NULL);
}

/* Reports it and answers the client so. False: the audit log's queue is full, and with that the session has
 * ended, all its streams as well. */
static bool refuse_open(struct connection *c, uint32_t number, const char *host, uint32_t port,
                        const struct tg_error *why)
{
    Tg__Event event;
    char target[TARGET_LEN];
    bool unreachable =
        why->code == TG_UNAVAILABLE || why->code == TG_DEADLINE_EXCEEDED || why->code == TG_NOT_FOUND;
    describe(&event, c, unreachable ? "stream.failed" : "stream.refused", why->text, host, port, target);
    if (!audit_post(c->worker->gateway->audit, &event)) {
        session_bye(c, TG_UNAVAILABLE, no_audit, "too many events wait for the audit service");
        return false;
    }
    send_opened(c, number, why->code, why->text);
    return true;
}

static enum tg_code may_open(struct connection *c, const Tg__Open *open, struct tg_error *err)
{
    const struct gateway *g = c->worker->gateway;
    TG_TRY(policy_check_host(c->session->policy, open->host, open->port, err));
    TG_ENSURE(c->session->stream_count < g->max_streams, err, TG_RESOURCE_EXHAUSTED,
              "%u streams are open already, as many as one session may have", g->max_streams);
    TG_ENSURE(audit_client_trouble(g->audit) == NULL, err, TG_UNAVAILABLE, "%s", no_audit);
    return TG_OK;
}

/* Both the audit log and the target must be there before the first byte flows; they are asked side by side.
 */
static void open_when_ready(struct stream *s)
{
    if (!s->recorded || s->socket == NULL)
        return;
    s->opened = true;
    send_opened(s->connection, s->number, TG_OK, NULL);
    TG_INVARIANT(stream_opened(&s->flow, NULL) == TG_OK);
    target_update_poll(s);
}

static void on_recorded(struct connection *c, uint32_t number, enum tg_code status, const char *text)
{
    struct stream *s = find(c->session, number);
    struct tg_error why;
    if (s == NULL) /* not reached, or given up */
        return;
    s->recorded = status == TG_OK;
    if (s->recorded) {
        open_when_ready(s);
        return;
    }
    LOG(LOG_WARNING, c->trace.hex, "stream.failed", LOG_TEXT("host", s->host), LOG_NUMBER("port", s->port),
        LOG_CODE(status), LOG_TEXT("error", text));
    (void)tg_fail(&why, TG_UNAVAILABLE, "%s", no_audit);
    if (refuse_open(c, number, s->host, s->port, &why))
        end(s);
}

static void record_and_dial(struct stream *s)
{
    Tg__Event event;
    char target[TARGET_LEN];
    describe(&event, s->connection, "stream.opened", NULL, s->host, s->port, target);
    call_audit_stream(s->connection, s->number, &event, AUDIT_BUDGET_MS, on_recorded);
    target_dial(s);
}

enum tg_code streams_on_open(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    uint32_t number = message->header.stream;
    TG_TRY(dispatch_unpack(message, &tg__open__descriptor, &unpacked, err));
    const Tg__Open *open = (const Tg__Open *)unpacked;
    TG_ENSURE(number % 2 == 1 && number > c->session->last_number, err, TG_OUT_OF_RANGE,
              "OPEN with stream number %u after %u: must be odd and rise", number, c->session->last_number);
    c->session->last_number = number;
    session_active(c);

    struct tg_error why;
    struct stream *s = NULL;
    enum tg_code code = may_open(c, open, &why);
    if (code == TG_OK && (s = add(c, number)) == NULL)
        code = tg_fail(&why, TG_RESOURCE_EXHAUSTED, "out of memory");
    if (code != TG_OK) {
        (void)refuse_open(c, number, open->host, open->port, &why);
        return TG_OK;
    }
    snprintf(s->host, sizeof s->host, "%s", open->host);
    s->port = open->port;
    record_and_dial(s);
    return TG_OK;
}

void stream_dialled(struct stream *s, enum tg_code code, const char *text)
{
    struct connection *c = s->connection;
    struct tg_error why;
    if (code == TG_OK) {
        open_when_ready(s);
        return;
    }
    LOG(LOG_INFO, c->trace.hex, "stream.failed", LOG_TEXT("host", s->host), LOG_NUMBER("port", s->port),
        LOG_CODE(code), LOG_TEXT("error", text));
    (void)tg_fail(&why, code, "%s", text);
    if (refuse_open(c, s->number, s->host, s->port, &why))
        end(s);
}

/* ---- from the client to the target ---- */

enum tg_code streams_on_data(struct connection *c, const struct message *message, struct tg_error *err)
{
    struct worker *worker = c->worker;
    struct stream *s;
    TG_TRY(find_for(c, message, &s, err));
    if (s == NULL)
        return TG_OK;
    TG_TRY(stream_received(&s->flow, message->header.length, err));
    session_active(c);
    c->session->bytes_in += message->header.length;
    s->bytes_in += message->header.length;
    if (worker->gather_owner != s || worker->gather_count == sizeof worker->gather / sizeof worker->gather[0])
        streams_flush(worker);
    worker->gather_owner = s;
    worker->gather[worker->gather_count++] =
        (struct iovec){.iov_base = pb_bytes(message->payload, 0).data, .iov_len = message->header.length};
    return TG_OK;
}

void streams_flush(struct worker *worker)
{
    struct stream *s = worker->gather_owner;
    if (s == NULL)
        return;
    size_t count = worker->gather_count;
    worker->gather_owner = NULL;
    worker->gather_count = 0;
    target_write(s, worker->gather, count);
}

void stream_target_took(struct stream *s, size_t len)
{
    Tg__Window window = TG__WINDOW__INIT;
    window.credit = stream_give_back(&s->flow, len);
    if (window.credit > 0)
        connection_send_message(s->connection, FRAME_WINDOW, s->number, &window.base, NULL);
}

enum tg_code streams_on_window(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    struct stream *s;
    TG_TRY(dispatch_unpack(message, &tg__window__descriptor, &unpacked, err));
    TG_TRY(find_for(c, message, &s, err));
    if (s == NULL)
        return TG_OK;
    TG_TRY(stream_received_credit(&s->flow, ((const Tg__Window *)unpacked)->credit, err));
    target_update_poll(s);
    return TG_OK;
}

enum tg_code streams_on_close(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    struct stream *s;
    TG_TRY(dispatch_unpack(message, &tg__close__descriptor, &unpacked, err));
    TG_TRY(find_for(c, message, &s, err));
    if (s == NULL)
        return TG_OK;
    unsigned code = ((const Tg__Close *)unpacked)->code;
    TG_TRY(stream_received_close(&s->flow, code, err));
    if (code == TG_OK)
        target_finish(s); /* also when both have closed: what is queued must reach the target */
    else
        end(s);
    return TG_OK;
}

/* ---- from the target to the client ---- */

static void send_close(struct stream *s, enum tg_code code, const char *text)
{
    Tg__Close close = TG__CLOSE__INIT;
    close.code = code;
    close.text = pb_string(text);
    connection_send_message(s->connection, FRAME_CLOSE, s->number, &close.base, NULL);
}

void stream_target_finished(struct stream *s)
{
    send_close(s, TG_OK, NULL);
    stream_sent_close(&s->flow);
    stream_end_when_done(s);
}

void stream_end_when_done(struct stream *s)
{
    if (s->flow.phase == STREAM_ENDED && byte_queue_len(&s->to_target) == 0)
        end(s);
}

void stream_reset(struct stream *s, enum tg_code code, const char *text)
{
    if (s->flow.phase == STREAM_OPEN)
        send_close(s, code, text);
    end(s);
}
