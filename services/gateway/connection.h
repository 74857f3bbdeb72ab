/* One client's connection, from accept to close. It belongs to its worker's thread.
 *
 * Life: connection_new → the states of common/protocol/order.h → connection_leave (REFUSED or BYE is flushed,
 * the client may read it) → connection_close → freed when libuv lets go of its handles. Any function may
 * close the connection; callers look at `closed` afterwards. */
#ifndef TG_GATEWAY_CONNECTION_H
#define TG_GATEWAY_CONNECTION_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/byte_queue.h"
#include "common/error.h"
#include "common/protocol/frame.h"
#include "common/protocol/order.h"
#include "common/trace.h"
#include "services/gateway/admission.h"
#include "services/gateway/worker.h"

enum connection_limits {
    CONNECTION_WIRE_MAX =
        1024 * 1024,             /* TLS records that a client does not take: more closes the connection */
    CONNECTION_LINGER_MS = 1500, /* how long REFUSED or BYE may take to get through */
    CONNECTION_SOURCE_LEN = 64
};

struct handshake;
struct session;
struct terms;

struct connection {
    struct worker *worker;
    struct connection *next, *previous; /* all of the worker */
    struct connection *same_bucket;
    struct connection *next_unfinished;
    uint64_t id;
    struct trace trace;
    struct terms *terms;

    int fd;
    struct sockaddr_storage address;
    char source[CONNECTION_SOURCE_LEN]; /* "192.0.2.1:40112", "[2001:db8::1]:40112" */
    struct source half_open_source;

    uv_poll_t poll;
    uv_timer_t timer; /* deadline of the state; the session's timeouts; the end of lingering */
    int poll_events;
    unsigned handles; /* not yet closed by libuv */

    SSL *ssl;
    struct byte_queue wire; /* TLS records that the socket did not take */
    uint8_t *partial;       /* the beginning of a frame whose end has not come */
    size_t partial_len;

    enum order_state state;
    bool half_open;  /* counts as such */
    bool in_session; /* holds one of the places for sessions */
    bool leaving;    /* REFUSED or BYE is on its way; what comes in is thrown away */
    bool half_closed;
    bool closed;
    bool unfinished; /* in the worker's list */

    struct handshake *handshake; /* until the session starts */
    struct session *session;     /* from then on */
};

/* Takes fd. The connection is counted as half-open already. NULL: out of memory, fd is closed. */
struct connection *connection_new(struct worker *worker, int fd, const struct sockaddr_storage *address,
                                  struct source source);
/* Starts the first TLS and its deadline. */
void connection_start(struct connection *c);
/* Ends it now: no more callbacks, descriptors closed, secrets wiped; memory is freed later. Twice is fine. */
void connection_close(struct connection *c);
/* Flushes, tells the peer that nothing follows, waits a moment for it to read, closes. */
void connection_leave(struct connection *c);
/* Reads what OpenSSL still holds: for worker_continue_later. */
void connection_continue(struct connection *c);

/* The state and its deadline. */
void connection_enter(struct connection *c, enum order_state state);
/* Another deadline: in a session, session_on_timer is called then. */
void connection_set_timer(struct connection *c, uint64_t ms);
/* Polls for what the connection waits for now; also after the wire was blocked or freed. */
void connection_update_poll(struct connection *c);
static inline bool connection_blocked(const struct connection *c)
{
    return byte_queue_len(&c->wire) > 0;
}

/* Sends a frame that is whole: header, payload. Never waits: what the socket does not take is kept. */
void connection_send(struct connection *c, const uint8_t *frame, size_t len);
/* Packs and sends a control frame, which the legal order must allow now (our own invariant), and enters the
 * state that follows. Returns the whole frame as sent (in the worker's buffer, until the next one), with its
 * length in *len (may be NULL). */
const uint8_t *connection_send_message(struct connection *c, enum frame_type type, uint32_t stream,
                                       const ProtobufCMessage *message, size_t *len);

#endif
