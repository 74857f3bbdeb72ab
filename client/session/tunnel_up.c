/* From the local side to the gateway: bytes go from the socket straight into the frames that will carry them.
 */
#include <errno.h>
#include <string.h>

#include "client/session/state.h"
#include "common/pb.h"

static void wait_for_room(struct tunnel *tunnel)
{
    struct session *session = tunnel->session;
    if (tunnel->waiting)
        return;
    tunnel->waiting = true;
    tunnel->next_waiting = NULL;
    if (session->last_waiting != NULL)
        session->last_waiting->next_waiting = tunnel;
    else
        session->first_waiting = tunnel;
    session->last_waiting = tunnel;
}

static bool watch_output(const struct tunnel *tunnel)
{
    return byte_queue_len(&tunnel->queue) > 0;
}

/* Places for what may be sent now: as many frames as room and credit allow. */
static int find_places(struct tunnel *tunnel, struct iovec *places)
{
    int count = link_data_room(&tunnel->session->link, places, TUNNEL_FRAMES_PER_TURN);
    size_t credit = tunnel->flow.send_credit;
    int used = 0;
    for (; used < count && credit > 0; used++) {
        if (places[used].iov_len > credit)
            places[used].iov_len = credit;
        credit -= places[used].iov_len;
    }
    return used;
}

static void sent(struct tunnel *tunnel, size_t len)
{
    link_data_commit(&tunnel->session->link, tunnel->number, len);
    while (len > 0) {
        size_t frame = stream_may_send(&tunnel->flow, len);
        stream_sent(&tunnel->flow, frame);
        len -= frame;
    }
}

/* The local side sends no more; the other direction goes on. */
static void end_input(struct tunnel *tunnel)
{
    Tg__Close end = TG__CLOSE__INIT;
    tunnel->input_over = true;
    tunnel_watch(tunnel, false, watch_output(tunnel));
    link_send(&tunnel->session->link, FRAME_CLOSE, tunnel->number, &end.base);
    stream_sent_close(&tunnel->flow);
    tunnel_close_if_done(tunnel);
}

void tunnel_pump_up(struct tunnel *tunnel)
{
    struct iovec places[TUNNEL_FRAMES_PER_TURN];
    int count = find_places(tunnel, places);
    if (count == 0) {
        tunnel_watch(tunnel, false, watch_output(tunnel));
        if (tunnel->flow.send_credit > 0)
            wait_for_room(tunnel);
        return; /* else WINDOW brings it back */
    }
    ssize_t n = readv(tunnel->in_fd, places, count);
    if (n > 0)
        sent(tunnel, (size_t)n);
    else if (n == 0)
        end_input(tunnel);
    else if (errno != EAGAIN && errno != EINTR)
        tunnel_reset(tunnel, TG_ABORTED, strerror(errno));
}

void tunnel_resume_up(struct tunnel *tunnel)
{
    if (tunnel->flow.phase == STREAM_OPEN && !tunnel->input_over)
        tunnel_watch(tunnel, true, watch_output(tunnel));
}

/* In the order in which they began to wait, so that each gets its share. */
void tunnels_room(struct session *session)
{
    struct tunnel *tunnel = session->first_waiting;
    session->first_waiting = session->last_waiting = NULL;
    while (tunnel != NULL) {
        struct tunnel *next = tunnel->next_waiting;
        tunnel->waiting = false;
        tunnel_resume_up(tunnel);
        tunnel = next;
    }
}
