#include "services/gateway/connection.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/protocol/channel.h"
#include "services/gateway/dispatch.h"
#include "services/gateway/events.h"
#include "services/gateway/handshake.h"
#include "services/gateway/refuse.h"
#include "services/gateway/session.h"
#include "services/gateway/steps.h"
#include "services/gateway/terms.h"
#include "services/gateway/tls.h"
#include "services/gateway/wire.h"

/* ---- the two TLS handshakes ---- */

static enum tg_code first_tls_built(struct connection *c, struct tg_error *err)
{
    TG_TRY(channel_exporter(c->ssl, c->handshake->exporter, err));
    connection_enter(c, order_find(ORDER_TLS, ORDER_CLIENT, 0)->next);
    return TG_OK;
}

static void advance_tls(struct connection *c)
{
    struct tg_error err;
    switch (tls_handshake(c, &err)) {
    case TLS_AGAIN:
        return;
    case TLS_END:
        connection_close(c);
        return;
    case TLS_BROKEN:
        refuse(c, &err);
        return;
    case TLS_DONE:
        break;
    }
    enum tg_code code = c->state == ORDER_TLS ? first_tls_built(c, &err) : channel_built(c, &err);
    if (code != TG_OK)
        refuse(c, &err);
    else
        dispatch_read(c); /* the client's first frame may have come with the end of the handshake */
}

/* ---- events of the loop ---- */

static void throw_away(struct connection *c)
{
    for (int turn = 0; turn < 4; turn++) {
        ssize_t n = recv(c->fd, c->worker->in, sizeof c->worker->in, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            connection_close(c);
            return;
        }
    }
}

static void readable(struct connection *c)
{
    if (c->leaving)
        throw_away(c);
    else if (c->state == ORDER_TLS || c->state == ORDER_CHANNEL)
        advance_tls(c);
    else
        dispatch_read(c);
}

static void half_close_when_flushed(struct connection *c)
{
    if (c->half_closed || !wire_push(c))
        return;
    c->half_closed = true;
    shutdown(c->fd, SHUT_WR);
}

static void writable(struct connection *c)
{
    struct tg_error err;
    if (!wire_push(c))
        return;
    if (c->leaving)
        half_close_when_flushed(c);
    else if (c->handshake != NULL && c->handshake->channel_due && channel_begin(c, &err) != TG_OK)
        refuse(c, &err);
    else if (c->session != NULL)
        session_unblocked(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    if (status < 0) { /* libuv reports POLLERR so: reset by the peer */
        connection_close(c);
        return;
    }
    if (events & UV_WRITABLE)
        writable(c);
    if ((events & UV_READABLE) && !c->closed)
        readable(c);
}

static void on_deadline(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    struct tg_error why;
    if (c->leaving) {
        connection_close(c);
    } else if (c->session != NULL) {
        session_on_timer(c);
    } else {
        bool ours = c->state == ORDER_AUTHENTICATED || c->state == ORDER_VERDICT;
        tg_fail(&why, ours ? TG_UNAVAILABLE : TG_DEADLINE_EXCEEDED, "the deadline passed %s",
                order_state_name(c->state));
        refuse(c, &why);
    }
}

void connection_continue(struct connection *c)
{
    if (!c->closed && !c->leaving && c->ssl != NULL)
        dispatch_read(c);
}

void connection_update_poll(struct connection *c)
{
    if (c->closed)
        return;
    int events = connection_blocked(c) ? UV_WRITABLE : 0;
    /* What comes before AUTHENTICATED is out is not read: it stays in the socket and fails the second TLS. */
    if (c->handshake == NULL || !c->handshake->channel_due)
        events |= UV_READABLE;
    if (events != c->poll_events)
        uv_poll_start(&c->poll, events, on_poll);
    c->poll_events = events;
}

/* ---- states ---- */

void connection_set_timer(struct connection *c, uint64_t ms)
{
    uv_timer_start(&c->timer, on_deadline, ms, 0);
}

void connection_enter(struct connection *c, enum order_state state)
{
    const struct gateway *g = c->worker->gateway;
    c->state = state;
    uint64_t deadline = order_deadline_ms(state);
    uint32_t cap = state <= ORDER_CHANNEL ? g->handshake_timeout_ms : g->login_timeout_ms;
    if (deadline > 0)
        connection_set_timer(c, deadline < cap ? deadline : cap);
    else
        uv_timer_stop(&c->timer);
}

/* ---- sending ---- */

void connection_send(struct connection *c, const uint8_t *frame, size_t len)
{
    tls_write(c, frame, len);
}

const uint8_t *connection_send_message(struct connection *c, enum frame_type type, uint32_t stream,
                                       const ProtobufCMessage *message, size_t *len)
{
    const struct order_row *row = order_find(c->state, ORDER_GATEWAY, (uint8_t)type);
    TG_INVARIANT(row != NULL);
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t max = c->session == NULL ? FRAME_MAX_BEFORE_LOGIN : FRAME_MAX;
    TG_INVARIANT(size <= max - FRAME_HEADER_LEN);
    uint8_t *frame = c->worker->out;
    frame_encode(&(struct frame_header){.type = (uint8_t)type, .length = (uint32_t)size, .stream = stream},
                 frame);
    protobuf_c_message_pack(message, frame + FRAME_HEADER_LEN);
    connection_send(c, frame, FRAME_HEADER_LEN + size);
    if (row->next != c->state)
        connection_enter(c, row->next);
    if (len != NULL)
        *len = FRAME_HEADER_LEN + size;
    return frame;
}

/* ---- life ---- */

struct connection *connection_new(struct worker *worker, int fd, const struct sockaddr_storage *address,
                                  struct source source)
{
    struct connection *c = calloc(1, sizeof *c);
    struct handshake *handshake = handshake_new();
    if (c == NULL || handshake == NULL || uv_poll_init(&worker->loop, &c->poll, fd) != 0) {
        handshake_free(handshake);
        free(c);
        close(fd);
        return NULL;
    }
    c->worker = worker;
    c->fd = fd;
    c->address = *address;
    c->half_open_source = source;
    c->half_open = true;
    c->handshake = handshake;
    c->trace = trace_new();
    c->terms = gateway_terms(worker->gateway);
    byte_queue_init(&c->wire, CONNECTION_WIRE_MAX);
    uv_timer_init(&worker->loop, &c->timer);
    c->poll.data = c->timer.data = c;
    c->handles = 2;
    listen_describe(address, c->source);
    worker_add(worker, c);
    return c;
}

void connection_start(struct connection *c)
{
    struct tg_error err;
    connection_enter(c, ORDER_TLS);
    if (tls_begin(c, c->terms->tls, &err) != TG_OK) {
        refuse(c, &err);
        return;
    }
    connection_update_poll(c);
}

void connection_leave(struct connection *c)
{
    if (c->closed || c->leaving)
        return;
    c->leaving = true;
    c->state = ORDER_CLOSED;
    session_end(c);
    if (c->handshake != NULL)
        c->handshake->channel_due = false;
    connection_set_timer(c, CONNECTION_LINGER_MS);
    tls_bye(c);
    half_close_when_flushed(c);
    connection_update_poll(c);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->handles > 0)
        return;
    byte_queue_fini(&c->wire);
    free(c->partial);
    terms_release(c->terms);
    free(c);
}

static void give_back_places(struct connection *c)
{
    struct admission *admission = c->worker->gateway->admission;
    if (c->half_open)
        admission_leave(admission, c->half_open_source);
    if (c->in_session)
        admission_session_leave(admission);
    c->half_open = c->in_session = false;
}

void connection_close(struct connection *c)
{
    if (c->closed)
        return;
    refuse_absent(c);
    session_end(c);
    c->closed = true;
    wire_forget(c);
    tls_end(c);
    handshake_free(c->handshake);
    c->handshake = NULL;
    if (c->partial != NULL)
        secret_wipe(c->partial, FRAME_MAX);
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    close(c->fd);
    worker_remove(c->worker, c);
    give_back_places(c);
    LOG(LOG_DEBUG, c->trace.hex, "connection.closed", LOG_TEXT("source", c->source));
}
