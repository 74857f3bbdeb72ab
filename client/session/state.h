/* What the files of a session share. Private to client/session and its tests. */
#ifndef TG_CLIENT_SESSION_STATE_H
#define TG_CLIENT_SESSION_STATE_H

#include <uv.h>

#include "client/session/link.h"
#include "client/session/session.h"
#include "common/byte_queue.h"
#include "common/protocol/stream.h"

enum state_sizes {
    TUNNEL_BUCKETS = 1024,
    TUNNEL_FRAMES_PER_TURN = 8, /* then the others get their turn */
    TUNNEL_GATHER_MAX = 32
};

/* A local connection (or stdin and stdout), and the stream that carries it. */
struct tunnel {
    struct session *session;
    struct tunnel *next;         /* in its bucket */
    struct tunnel *next_waiting; /* for room on the link */
    bool waiting;
    bool stdio;
    bool input_over;  /* the local side sends no more */
    bool output_over; /* the gateway sends no more: close once the queue is empty */
    uint32_t number;
    struct stream_flow flow;
    struct byte_queue queue; /* from the gateway, for the local side; at most the stream's window */
    int in_fd, out_fd;       /* the same for a socket */
    int in_flags, out_flags; /* of stdin and stdout, to be restored: others may share them */
    int in_events, out_events;
    uv_poll_t in_poll, out_poll; /* out_poll only where out_fd differs */
    uv_idle_t in_idle;           /* instead of in_poll where epoll has no use for the descriptor (a file) */
    bool in_polled, out_polled;
    int handles; /* open ones; the last to close frees the tunnel */
    const struct host_port *target;
};

/* A -L: an address that local programs connect to. */
struct listener {
    struct session *session;
    const struct forward_spec *spec;
    int fd;
    uv_poll_t poll;
};

struct session {
    const struct session_options *options;
    struct login_session *login;
    uv_loop_t loop;
    struct link link;
    struct listener listeners[SESSION_FORWARDS_MAX];
    size_t listener_count;
    bool listening; /* false while streams or descriptors have run out */

    struct tunnel *tunnels[TUNNEL_BUCKETS];
    struct tunnel *first_waiting, *last_waiting;
    uint32_t tunnel_count;
    uint32_t last_number;

    struct { /* DATA of one batch for one tunnel, passed on with one writev() */
        struct tunnel *tunnel;
        struct iovec parts[TUNNEL_GATHER_MAX];
        int count;
        size_t len;
    } gather;

    uv_timer_t keep_alive, farewell, watch;
    uv_signal_t signals[3];
    unsigned silent_turns;
    bool ending;
    enum client_exit exit;
    struct tg_error why;
};

/* session.c: ends the session: BYE to the gateway (unless it is the one who said it, or the link is dead),
 * local connections cut. The first reason stands. */
void session_end(struct session *session, enum client_exit how, enum tg_code code, const char *text);

/* dispatch.c: what to do with each frame of a session. */
enum tg_code session_frame(void *context, const struct frame_header *header, const uint8_t *payload,
                           struct tg_error *err);

/* listener.c */
enum tg_code listeners_open(struct session *session, struct tg_error *err) TG_MUST_CHECK;
void listeners_close(struct session *session);
/* Stops or goes on accepting, as streams and descriptors allow. */
void listeners_pause(struct session *session);
void listeners_resume(struct session *session);

/* tunnel.c. The descriptors become the tunnel's. NULL: out of memory or of numbers; the descriptors stay the
 * caller's. */
struct tunnel *tunnel_open(struct session *session, int in_fd, int out_fd, const struct host_port *target);
struct tunnel *tunnel_find(struct session *session, uint32_t number);
/* OPENED: data may flow. */
void tunnel_start(struct tunnel *tunnel);
/* Ends it at once: the local connection is cut (RST), nothing is sent to the gateway. */
void tunnel_cut(struct tunnel *tunnel);
/* The same after telling the gateway why. */
void tunnel_reset(struct tunnel *tunnel, enum tg_code code, const char *text);
/* Closes it if both directions have ended and everything was passed on. */
void tunnel_close_if_done(struct tunnel *tunnel);
void tunnels_cut_all(struct session *session);
/* Sets what the loop watches: readable when `in`, writable when `out`. */
void tunnel_watch(struct tunnel *tunnel, bool in, bool out);

/* tunnel_up.c: local side to gateway. */
void tunnel_pump_up(struct tunnel *tunnel);
/* More credit or room may let it go on. */
void tunnel_resume_up(struct tunnel *tunnel);
void tunnels_room(struct session *session);

/* tunnel_down.c: gateway to local side. */
void tunnel_deliver(struct tunnel *tunnel, const uint8_t *payload, size_t len);
void tunnel_flush_gathered(struct session *session);
void tunnel_pump_down(struct tunnel *tunnel);
/* The gateway's CLOSE with OK. */
void tunnel_end_output(struct tunnel *tunnel);

#endif
