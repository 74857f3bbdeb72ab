/* The streams of a session: OPEN, DATA, WINDOW and CLOSE on the client's side; target.h is the other side of
 * each. */
#ifndef TG_GATEWAY_STREAMS_H
#define TG_GATEWAY_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/byte_queue.h"
#include "common/error.h"
#include "common/protocol/stream.h"
#include "services/gateway/connection.h"
#include "services/gateway/policy.h"

struct dial;
struct target_socket;

struct stream {
    struct connection *connection;
    struct stream *next; /* in its bucket; among the ended ones */
    struct stream *next_paused;
    bool paused;
    uint32_t number;
    struct stream_flow flow;
    bool recorded;                /* stream.opened is durable in the audit log: bytes may flow */
    bool opened;                  /* OPENED with OK was sent: stream.closed must follow */
    struct dial *dial;            /* while the target is being reached */
    struct target_socket *socket; /* from then on */
    struct byte_queue to_target;  /* what the target did not take; bounded by the credit given */
    uint64_t bytes_in, bytes_out;
    uint32_t port;
    char host[POLICY_HOST_MAX + 1]; /* as the client wrote it */
};

/* Passes on what was gathered of the last DATA frames; their bytes stand in the worker's buffer only until
 * then. */
void streams_flush(struct worker *worker);
/* Reads from targets again that were paused because the client took nothing. */
void streams_resume(struct connection *c);
void streams_end_all(struct connection *c);
void streams_free_ended(struct worker *worker);

/* ---- what targets report ---- */

/* The target is reached (code OK), or not: the stream has ended then. */
void stream_dialled(struct stream *s, enum tg_code code, const char *text);
/* The target sends no more. */
void stream_target_finished(struct stream *s);
/* Both sides have closed: ends the stream as soon as the target has taken everything. */
void stream_end_when_done(struct stream *s);
/* The target is gone: CLOSE{code, text}; the stream has ended. */
void stream_reset(struct stream *s, enum tg_code code, const char *text);
/* len bytes of the client were taken by the target: credit goes back. */
void stream_target_took(struct stream *s, size_t len);

#endif
