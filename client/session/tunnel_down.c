/* From the gateway to the local side: written at once where the socket takes it, queued (within the stream's
 * window) where not. Credit goes back for what was passed on, so a slow program stops its own stream and no
 * other. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/session/state.h"
#include "common/pb.h"

static void give_back(struct tunnel *tunnel, size_t len)
{
    Tg__Window window = TG__WINDOW__INIT;
    window.credit = stream_give_back(&tunnel->flow, len);
    if (window.credit > 0)
        link_send(&tunnel->session->link, FRAME_WINDOW, tunnel->number, &window.base);
}

static void watch(struct tunnel *tunnel)
{
    bool in = (tunnel->in_events & UV_READABLE) != 0 || uv_is_active((uv_handle_t *)&tunnel->in_idle) != 0;
    tunnel_watch(tunnel, in, byte_queue_len(&tunnel->queue) > 0);
}

static void broken(struct tunnel *tunnel)
{
    struct session *session = tunnel->session;
    bool only_stream = tunnel->stdio;
    char text[sizeof session->why.text];
    snprintf(text, sizeof text, "the local side is gone: %s", strerror(errno));
    tunnel_reset(tunnel, TG_CANCELLED, text);
    if (only_stream)
        session_end(session, EXIT_OK, TG_OK, text);
}

/* Closes the local side's input, if everything was passed on. */
static void end_output_if_empty(struct tunnel *tunnel)
{
    if (!tunnel->output_over || byte_queue_len(&tunnel->queue) > 0)
        return;
    if (tunnel->in_fd == tunnel->out_fd)
        shutdown(tunnel->out_fd, SHUT_WR);
    tunnel_close_if_done(tunnel);
}

void tunnel_pump_down(struct tunnel *tunnel)
{
    size_t passed = 0;
    while (byte_queue_len(&tunnel->queue) > 0) {
        ssize_t n = write(tunnel->out_fd, byte_queue_front(&tunnel->queue), byte_queue_len(&tunnel->queue));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            broken(tunnel);
            return;
        }
        if (n < 0)
            break;
        byte_queue_take(&tunnel->queue, (size_t)n);
        passed += (size_t)n;
    }
    if (passed > 0)
        give_back(tunnel, passed);
    watch(tunnel);
    end_output_if_empty(tunnel);
}

/* What the socket did not take of the gathered parts waits in the queue. */
static bool queue_rest(struct tunnel *tunnel, const struct iovec *parts, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t len = parts[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        if (!byte_queue_append(&tunnel->queue, (const uint8_t *)parts[i].iov_base + skip, len - skip))
            return false;
        skip = 0;
    }
    return true;
}

void tunnel_flush_gathered(struct session *session)
{
    struct tunnel *tunnel = session->gather.tunnel;
    session->gather.tunnel = NULL;
    if (tunnel == NULL)
        return;
    ssize_t n = 0;
    if (byte_queue_len(&tunnel->queue) == 0)
        n = writev(tunnel->out_fd, session->gather.parts, session->gather.count);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        broken(tunnel);
        return;
    }
    size_t passed = n > 0 ? (size_t)n : 0;
    if (!queue_rest(tunnel, session->gather.parts, session->gather.count, passed)) {
        tunnel_reset(tunnel, TG_RESOURCE_EXHAUSTED, "the client is out of memory");
        return;
    }
    if (passed > 0)
        give_back(tunnel, passed);
    if (byte_queue_len(&tunnel->queue) > 0)
        watch(tunnel);
}

void tunnel_deliver(struct tunnel *tunnel, const uint8_t *payload, size_t len)
{
    struct session *session = tunnel->session;
    if (session->gather.tunnel != tunnel || session->gather.count == TUNNEL_GATHER_MAX) {
        tunnel_flush_gathered(session);
        if (tunnel_find(session, tunnel->number) != tunnel)
            return; /* broken on the way */
        session->gather.tunnel = tunnel;
        session->gather.count = 0;
    }
    session->gather.parts[session->gather.count++] =
        (struct iovec){.iov_base = pb_bytes(payload, len).data, .iov_len = len};
}

void tunnel_end_output(struct tunnel *tunnel)
{
    tunnel->output_over = true;
    end_output_if_empty(tunnel);
}
