/* Which frame does what, as a table. What is not in it, the gateway must not send in a session. */
#include <string.h>

#include "client/session/state.h"
#include "common/pb.h"
#include "common/utf8.h"

enum { TEXT_MAX = 160 };

struct incoming {
    struct session *session;
    const struct frame_header *header;
    const uint8_t *payload;
    struct tunnel *tunnel; /* NULL for frames of the connection itself */
};
typedef enum tg_code frame_handler(const struct incoming *in, struct tg_error *err);

static ProtobufCMessage *unpack(const struct incoming *in, const ProtobufCMessageDescriptor *type,
                                struct tg_error *err)
{
    ProtobufCMessage *message = pb_unpack(type, in->payload, in->header->length);
    if (message == NULL)
        tg_fail(err, TG_INVALID_ARGUMENT, "the gateway sent a malformed %s", frame_name(in->header->type));
    return message;
}

/* The gateway reached the target, or did not. */
static enum tg_code on_opened(const struct incoming *in, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = unpack(in, &tg__opened__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Opened *opened = (const Tg__Opened *)message;
    struct tunnel *tunnel = in->tunnel;
    if (opened->code == TG_OK) {
        TG_TRY(stream_opened(&tunnel->flow, err));
        tunnel_start(tunnel);
        return TG_OK;
    }
    char target[HOST_PORT_TEXT_LEN], reason[TEXT_MAX], text[HOST_PORT_TEXT_LEN + TEXT_MAX + 2];
    host_port_text(tunnel->target, target, sizeof target);
    utf8_clean(reason, sizeof reason, opened->text, strlen(opened->text), false);
    snprintf(text, sizeof text, "%s: %s", target, reason);
    bool only_stream = tunnel->stdio;
    tunnel_cut(tunnel);
    if (only_stream)
        session_end(in->session, EXIT_TARGET, TG_FAILED_PRECONDITION, text);
    else
        SAY(in->session->options->say, LOG_WARNING, "stream.refused", text, LOG_TEXT("target", target),
            LOG_TEXT("code", tg_code_name(opened->code)), LOG_TEXT("reason", reason));
    return TG_OK;
}

static enum tg_code on_data(const struct incoming *in, struct tg_error *err)
{
    TG_TRY(stream_received(&in->tunnel->flow, in->header->length, err));
    tunnel_deliver(in->tunnel, in->payload, in->header->length);
    return TG_OK;
}

static enum tg_code on_window(const struct incoming *in, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = unpack(in, &tg__window__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    TG_TRY(stream_received_credit(&in->tunnel->flow, ((const Tg__Window *)message)->credit, err));
    tunnel_resume_up(in->tunnel);
    return TG_OK;
}

static enum tg_code on_close(const struct incoming *in, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = unpack(in, &tg__close__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Close *end = (const Tg__Close *)message;
    tunnel_flush_gathered(in->session); /* what came before it goes first */
    struct tunnel *tunnel = tunnel_find(in->session, in->header->stream);
    if (tunnel == NULL)
        return TG_OK; /* the local side broke while it was passed on */
    TG_TRY(stream_received_close(&tunnel->flow, end->code, err));
    if (end->code == TG_OK) {
        tunnel_end_output(tunnel);
        return TG_OK;
    }
    char reason[TEXT_MAX];
    utf8_clean(reason, sizeof reason, end->text, strlen(end->text), false);
    bool only_stream = tunnel->stdio;
    tunnel_cut(tunnel);
    if (only_stream)
        session_end(in->session, EXIT_TARGET, TG_ABORTED,
                    reason[0] != '\0' ? reason : "the target broke the connection");
    return TG_OK;
}

static enum tg_code on_ping(const struct incoming *in, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = unpack(in, &tg__ping__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    link_send(&in->session->link, FRAME_PONG, 0, message);
    return TG_OK;
}

/* That anything came at all is what counts (link.heard). */
static enum tg_code on_pong(const struct incoming *in, struct tg_error *err)
{
    (void)in;
    (void)err;
    return TG_OK;
}

static enum tg_code on_bye(const struct incoming *in, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = unpack(in, &tg__bye__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Bye *bye = (const Tg__Bye *)message;
    char reason[TEXT_MAX], text[sizeof err->text];
    utf8_clean(reason, sizeof reason, bye->text, strlen(bye->text), false);
    snprintf(text, sizeof text, "the gateway ended the session%s%s", reason[0] != '\0' ? ": " : "", reason);
    tunnel_flush_gathered(in->session);
    in->session->link.dead = true; /* it reads nothing more */
    session_end(in->session, exit_for_bye(bye->code),
                bye->code < TG_CODE_COUNT ? (enum tg_code)bye->code : TG_UNKNOWN, text);
    return TG_OK;
}

static frame_handler *const handlers[] = {
    [FRAME_OPENED] = on_opened, [FRAME_DATA] = on_data, [FRAME_WINDOW] = on_window, [FRAME_CLOSE] = on_close,
    [FRAME_PING] = on_ping,     [FRAME_PONG] = on_pong, [FRAME_BYE] = on_bye,
};

enum tg_code session_frame(void *context, const struct frame_header *header, const uint8_t *payload,
                           struct tg_error *err)
{
    struct session *session = context;
    struct incoming in = {.session = session, .header = header, .payload = payload};
    frame_handler *handle = header->type < sizeof handlers / sizeof *handlers ? handlers[header->type] : NULL;
    if (session->ending)
        return TG_OK;
    TG_ENSURE(handle != NULL, err, TG_INVALID_ARGUMENT, "the gateway sent %s in the session",
              frame_name(header->type));
    if (header->stream != 0) {
        in.tunnel = tunnel_find(session, header->stream);
        bool was_opened = header->stream % 2 == 1 && header->stream <= session->last_number;
        TG_ENSURE(was_opened, err, TG_INVALID_ARGUMENT,
                  "the gateway sent %s for stream %u, which was never opened", frame_name(header->type),
                  header->stream);
        if (in.tunnel == NULL || in.tunnel->flow.phase == STREAM_ENDED)
            return TG_OK; /* it crossed the stream's end */
    }
    return handle(&in, err);
}
