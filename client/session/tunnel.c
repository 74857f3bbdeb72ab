/* A tunnel's life: opened for a local connection, started by OPENED, closed when both directions have ended
 * or either side gives up. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/session/state.h"
#include "common/pb.h"

static struct tunnel **bucket(struct session *session, uint32_t number)
{
    return &session->tunnels[(number >> 1) % TUNNEL_BUCKETS];
}

struct tunnel *tunnel_find(struct session *session, uint32_t number)
{
    struct tunnel *tunnel = *bucket(session, number);
    while (tunnel != NULL && tunnel->number != number)
        tunnel = tunnel->next;
    return tunnel;
}

static void on_in(uv_poll_t *poll, int status, int events)
{
    struct tunnel *tunnel = poll->data;
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE; /* read() and write() tell what is wrong */
    uint32_t number = tunnel->number;
    struct session *session = tunnel->session;
    if ((events & UV_WRITABLE) != 0)
        tunnel_pump_down(tunnel);
    if ((events & UV_READABLE) != 0 && tunnel_find(session, number) == tunnel)
        tunnel_pump_up(tunnel);
}

static void on_out(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    tunnel_pump_down(poll->data);
}

static void on_idle(uv_idle_t *idle)
{
    tunnel_pump_up(idle->data);
}

static void poll_set(uv_poll_t *poll, int *now, int wanted, uv_poll_cb callback)
{
    if (*now == wanted)
        return;
    *now = wanted;
    if (wanted == 0)
        uv_poll_stop(poll);
    else
        uv_poll_start(poll, wanted, callback);
}

void tunnel_watch(struct tunnel *tunnel, bool in, bool out)
{
    int in_events = in ? UV_READABLE : 0;
    int out_events = out ? UV_WRITABLE : 0;
    if (tunnel->in_fd == tunnel->out_fd)
        in_events |= out_events;
    else if (tunnel->out_polled)
        poll_set(&tunnel->out_poll, &tunnel->out_events, out_events, on_out);
    if (tunnel->in_polled)
        poll_set(&tunnel->in_poll, &tunnel->in_events, in_events, on_in);
    else if (in)
        uv_idle_start(&tunnel->in_idle, on_idle);
    else
        uv_idle_stop(&tunnel->in_idle);
}

/* A file, /dev/null: epoll refuses them, and they are always ready. */
static void handles_open(struct tunnel *tunnel)
{
    uv_loop_t *loop = &tunnel->session->loop;
    tunnel->in_flags = fcntl(tunnel->in_fd, F_GETFL);
    tunnel->out_flags = fcntl(tunnel->out_fd, F_GETFL);
    tunnel->in_polled = uv_poll_init(loop, &tunnel->in_poll, tunnel->in_fd) == 0;
    tunnel->out_polled =
        tunnel->out_fd != tunnel->in_fd && uv_poll_init(loop, &tunnel->out_poll, tunnel->out_fd) == 0;
    uv_idle_init(loop, &tunnel->in_idle);
    tunnel->in_poll.data = tunnel->out_poll.data = tunnel->in_idle.data = tunnel;
    tunnel->handles = 1 + tunnel->in_polled + tunnel->out_polled;
}

static void send_open(struct tunnel *tunnel)
{
    Tg__Open open = TG__OPEN__INIT;
    open.host = pb_string(tunnel->target->host);
    open.port = tunnel->target->port;
    link_send(&tunnel->session->link, FRAME_OPEN, tunnel->number, &open.base);
}

struct tunnel *tunnel_open(struct session *session, int in_fd, int out_fd, const struct host_port *target)
{
    if (session->last_number >= UINT32_MAX - 2)
        return NULL;
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL)
        return NULL;
    session->last_number += session->last_number == 0 ? 1 : 2;
    *tunnel = (struct tunnel){.session = session,
                              .number = session->last_number,
                              .in_fd = in_fd,
                              .out_fd = out_fd,
                              .stdio = in_fd != out_fd,
                              .target = target};
    uint32_t window = session->login->welcome->stream_window;
    stream_init(&tunnel->flow, window);
    byte_queue_init(&tunnel->queue, window);
    handles_open(tunnel);
    tunnel->next = *bucket(session, tunnel->number);
    *bucket(session, tunnel->number) = tunnel;
    session->tunnel_count++;
    send_open(tunnel);
    return tunnel;
}

void tunnel_start(struct tunnel *tunnel)
{
    tunnel_watch(tunnel, true, false);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tunnel *tunnel = handle->data;
    if (--tunnel->handles > 0)
        return;
    byte_queue_fini(&tunnel->queue);
    free(tunnel);
}

static void handles_close(struct tunnel *tunnel)
{
    bool in_polled = tunnel->in_polled, out_polled = tunnel->out_polled;
    uv_close((uv_handle_t *)&tunnel->in_idle, on_handle_closed);
    if (in_polled)
        uv_close((uv_handle_t *)&tunnel->in_poll, on_handle_closed);
    if (out_polled)
        uv_close((uv_handle_t *)&tunnel->out_poll, on_handle_closed);
}

static void unlink_tunnel(struct tunnel *tunnel)
{
    struct session *session = tunnel->session;
    struct tunnel **at = bucket(session, tunnel->number);
    while (*at != tunnel)
        at = &(*at)->next;
    *at = tunnel->next;
    session->tunnel_count--;
    if (session->gather.tunnel == tunnel)
        session->gather.tunnel = NULL;
    struct tunnel **waiting = &session->first_waiting;
    session->last_waiting = NULL;
    for (struct tunnel *t = session->first_waiting; t != NULL; t = t->next_waiting) {
        if (t == tunnel) {
            *waiting = t->next_waiting;
        } else {
            waiting = &t->next_waiting;
            session->last_waiting = t;
        }
    }
}

/* libuv has made them non-blocking for all who share them: whoever gave us stdin and stdout may go on using
 * them. */
static void close_stdio(struct tunnel *tunnel)
{
    fcntl(tunnel->in_fd, F_SETFL, tunnel->in_flags);
    fcntl(tunnel->out_fd, F_SETFL, tunnel->out_flags);
    close(tunnel->in_fd);
    close(tunnel->out_fd);
}

static void tunnel_close(struct tunnel *tunnel)
{
    struct session *session = tunnel->session;
    unlink_tunnel(tunnel);
    handles_close(tunnel);
    if (tunnel->stdio)
        close_stdio(tunnel);
    else
        close(tunnel->in_fd);
    listeners_resume(session);
}

void tunnel_cut(struct tunnel *tunnel)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(tunnel->in_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    tunnel_close(tunnel);
}

void tunnel_reset(struct tunnel *tunnel, enum tg_code code, const char *text)
{
    Tg__Close end = TG__CLOSE__INIT;
    end.code = code;
    end.text = pb_string(text);
    if (tunnel->flow.phase != STREAM_ENDED)
        link_send(&tunnel->session->link, FRAME_CLOSE, tunnel->number, &end.base);
    tunnel_cut(tunnel);
}

void tunnel_close_if_done(struct tunnel *tunnel)
{
    bool passed_on = tunnel->output_over && byte_queue_len(&tunnel->queue) == 0;
    if (!passed_on || !(tunnel->input_over || tunnel->stdio))
        return;
    struct session *session = tunnel->session;
    bool only_stream = tunnel->stdio;
    tunnel_close(tunnel);
    if (only_stream) /* as nc does: what the target does not read any more need not be waited for */
        session_end(session, EXIT_OK, TG_OK, "the target closed the connection");
}

void tunnels_cut_all(struct session *session)
{
    for (size_t i = 0; i < TUNNEL_BUCKETS; i++) {
        while (session->tunnels[i] != NULL)
            tunnel_cut(session->tunnels[i]);
    }
}
