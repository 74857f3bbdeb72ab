/* One stream's target: looked up, judged by the policy, dialled, then read and written on its own
 * non-blocking socket.
 *
 * Backpressure: it is read only while there is credit and the client takes data; what it does not take waits
 * in a queue no longer than the credit given. */
#ifndef TG_GATEWAY_TARGET_H
#define TG_GATEWAY_TARGET_H

#include <stddef.h>
#include <sys/uio.h>

#include "services/gateway/streams.h"

/* Ends in stream_dialled, at the latest after dial_timeout; maybe before it returns. */
void target_dial(struct stream *s);
/* Polls for what the stream waits for now. */
void target_update_poll(struct stream *s);
/* Writes what the target takes and queues the rest. May reset the stream. */
void target_write(struct stream *s, const struct iovec *parts, size_t count);
/* The client sends no more: the target learns it once it has taken all that is queued. */
void target_finish(struct stream *s);
/* Gives up dialling; closes the socket. */
void target_close(struct stream *s);

/* dial.c hands over the connected socket with its poll handle. */
struct target_socket {
    uv_poll_t poll;
    struct stream *stream; /* while connected */
    struct dial *dial;     /* while connecting */
    int fd;
    int events;
};
struct target_socket *target_socket_new(uv_loop_t *loop, int fd);
void target_socket_poll(struct target_socket *socket, int events, uv_poll_cb on_poll);
/* Closes the descriptor; memory goes when libuv lets go. NULL is fine. */
void target_socket_close(struct target_socket *socket);
void dial_cancel(struct dial *dial); /* NULL is fine */

#endif
