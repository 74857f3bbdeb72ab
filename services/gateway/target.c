#include "services/gateway/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/gateway/session.h"

enum { TURNS = 4 }; /* batches from one target before others get their turn */

/* ---- the socket ---- */

struct target_socket *target_socket_new(uv_loop_t *loop, int fd)
{
    struct target_socket *made = calloc(1, sizeof *made);
    if (made == NULL || uv_poll_init(loop, &made->poll, fd) != 0) {
        free(made);
        return NULL;
    }
    made->fd = fd;
    made->poll.data = made;
    return made;
}

void target_socket_poll(struct target_socket *socket, int events, uv_poll_cb on_poll)
{
    if (events != socket->events)
        uv_poll_start(&socket->poll, events, on_poll); /* 0: stops */
    socket->events = events;
}

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void target_socket_close(struct target_socket *socket)
{
    if (socket == NULL)
        return;
    uv_poll_stop(&socket->poll);
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
    close(socket->fd);
}

void target_close(struct stream *s)
{
    dial_cancel(s->dial);
    s->dial = NULL;
    target_socket_close(s->socket);
    s->socket = NULL;
}

/* ---- from the target to the client ---- */

static void pause_reading(struct stream *s)
{
    struct session *session = s->connection->session;
    if (!s->paused) {
        s->paused = true;
        s->next_paused = session->paused;
        session->paused = s;
    }
    target_update_poll(s);
}

/* Frames of `len` bytes in all stand in the worker's buffer, each behind room for its header: sends them. */
static void send_frames(struct stream *s, size_t len)
{
    struct connection *c = s->connection;
    for (uint8_t *frame = c->worker->out; len > 0; frame += FRAME_MAX) {
        size_t payload = len < FRAME_PAYLOAD_MAX ? len : FRAME_PAYLOAD_MAX;
        struct frame_header header = {.type = FRAME_DATA, .length = (uint32_t)payload, .stream = s->number};
        frame_encode(&header, frame);
        connection_send(c, frame, FRAME_HEADER_LEN + payload);
        stream_sent(&s->flow, payload);
        len -= payload;
    }
}

/* Straight into the frames' places, several with one system call. Returns as readv does; *room: what was
 * asked for. */
static ssize_t read_batch(struct stream *s, size_t *room)
{
    struct iovec parts[WORKER_BATCH];
    int count = 0;
    size_t credit = s->flow.send_credit;
    *room = 0;
    for (; count < WORKER_BATCH && *room < credit; count++) {
        size_t rest = credit - *room, len = rest < FRAME_PAYLOAD_MAX ? rest : FRAME_PAYLOAD_MAX;
        parts[count].iov_base = s->connection->worker->out + (size_t)count * FRAME_MAX + FRAME_HEADER_LEN;
        parts[count].iov_len = len;
        *room += len;
    }
    ssize_t n;
    do
        n = readv(s->socket->fd, parts, count);
    while (n < 0 && errno == EINTR);
    return n;
}

/* True: there may be more. */
static bool read_some(struct stream *s)
{
    struct connection *c = s->connection;
    size_t room;
    ssize_t n = read_batch(s, &room);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n < 0) {
        stream_reset(s, TG_UNAVAILABLE, strerror(errno));
        return false;
    }
    if (n == 0) {
        stream_target_finished(s);
        return false;
    }
    send_frames(s, (size_t)n);
    s->bytes_out += (uint64_t)n;
    c->session->bytes_out += (uint64_t)n;
    session_active(c);
    return (size_t)n == room;
}

static void read_target(struct stream *s)
{
    for (int turn = 0; turn < TURNS; turn++) {
        if (connection_blocked(s->connection)) {
            pause_reading(s);
            return;
        }
        if (stream_may_send(&s->flow, 1) == 0 || !read_some(s))
            break;
    }
    target_update_poll(s);
}

/* ---- from the client to the target ---- */

static void shut_down_when_empty(struct stream *s)
{
    if (s->flow.received_close && byte_queue_len(&s->to_target) == 0)
        shutdown(s->socket->fd, SHUT_WR);
    stream_end_when_done(s);
}

static void write_queue(struct stream *s)
{
    size_t waiting = byte_queue_len(&s->to_target);
    if (waiting == 0)
        return;
    ssize_t n = send(s->socket->fd, byte_queue_front(&s->to_target), waiting, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        stream_reset(s, TG_UNAVAILABLE, strerror(errno));
        return;
    }
    byte_queue_take(&s->to_target, (size_t)n);
    stream_target_took(s, (size_t)n);
    if (byte_queue_len(&s->to_target) == 0)
        shut_down_when_empty(s);
    target_update_poll(s);
}

static bool queue_rest(struct stream *s, const struct iovec *parts, size_t count, size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        size_t over = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= over;
        if (!byte_queue_append(&s->to_target, (const uint8_t *)parts[i].iov_base + over,
                               parts[i].iov_len - over))
            return false;
    }
    return true;
}

static ssize_t send_parts(struct stream *s, const struct iovec *parts, size_t count)
{
    union {
        const struct iovec *in;
        struct iovec *out;
    } cast = {.in = parts};
    struct msghdr message = {.msg_iov = cast.out, .msg_iovlen = count};
    ssize_t n;
    do
        n = sendmsg(s->socket->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

void target_write(struct stream *s, const struct iovec *parts, size_t count)
{
    ssize_t n = byte_queue_len(&s->to_target) > 0 ? 0 : send_parts(s, parts, count);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        stream_reset(s, TG_UNAVAILABLE, strerror(errno));
        return;
    }
    size_t sent = n > 0 ? (size_t)n : 0;
    if (!queue_rest(s, parts, count, sent)) {
        stream_reset(s, TG_RESOURCE_EXHAUSTED, "the gateway is out of memory");
        return;
    }
    if (sent > 0)
        stream_target_took(s, sent);
    target_update_poll(s);
}

void target_finish(struct stream *s)
{
    shut_down_when_empty(s);
}

/* ---- polling ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct target_socket *socket = poll->data;
    struct stream *s = socket->stream;
    if (status < 0) { /* POLLERR: libuv has stopped polling; the next call says what is wrong */
        int problem = 0;
        socklen_t len = sizeof problem;
        getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &problem, &len);
        stream_reset(s, TG_UNAVAILABLE, strerror(problem != 0 ? problem : ECONNRESET));
        return;
    }
    if (events & UV_WRITABLE)
        write_queue(s);
    if ((events & UV_READABLE) && s->socket != NULL)
        read_target(s);
}

void target_update_poll(struct stream *s)
{
    int events = 0;
    if (s->socket == NULL)
        return;
    if (!s->paused && stream_may_send(&s->flow, 1) > 0)
        events |= UV_READABLE;
    if (byte_queue_len(&s->to_target) > 0)
        events |= UV_WRITABLE;
    target_socket_poll(s->socket, events, on_poll);
}
