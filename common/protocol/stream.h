/* One stream's bookkeeping, the same on both ends (DESIGN.md 8): whether it is open, and how many bytes each
 * side may still send. Credit counts DATA payload bytes. Both directions start with the `stream_window` of
 * WELCOME; a receiver gives credit back with WINDOW once it has passed the bytes on, so that what it must
 * hold is bounded by the window.
 *
 * The rules that both ends rely on:
 *   - the client's OPEN carries an odd number, higher than all before; numbers are not used again in one
 * session;
 *   - before OPENED the client sends nothing on the stream, except CLOSE with a code, to give up;
 *   - DATA is never empty, nor longer than the credit;
 *   - CLOSE with OK: this sender sends no more DATA, the other direction goes on. CLOSE with another code
 * ends both directions at once and is not answered. OPENED with a code other than OK ends the stream as well;
 *   - frames for a stream that has ended are ignored, since they may have crossed its end; frames for a
 * number that was never opened break the protocol and end the connection.
 *
 * Plain memory, no allocation; one stream belongs to one thread at a time. */
#ifndef TG_COMMON_PROTOCOL_STREAM_H
#define TG_COMMON_PROTOCOL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/protocol/frame.h"

enum stream_limits {
    STREAM_WINDOW_MIN = 4 * FRAME_PAYLOAD_MAX, /* less would stall between two WINDOWs */
    STREAM_WINDOW_MAX = 64 * 1024 * 1024,      /* no side's credit may ever exceed this */
    STREAM_WINDOW_DEFAULT = 1024 * 1024
};

enum stream_phase { STREAM_OPENING, STREAM_OPEN, STREAM_ENDED };

struct stream_flow {
    enum stream_phase phase;
    bool sent_close;      /* we send no more DATA */
    bool received_close;  /* the peer sends no more DATA */
    uint32_t window;      /* initial credit, either way */
    uint32_t send_credit; /* what we may still send */
    uint32_t recv_credit; /* what the peer may still send */
    uint32_t passed_on;   /* received and passed on, but not yet given back */
};

/* OPEN was sent or received: the stream is in STREAM_OPENING. */
void stream_init(struct stream_flow *flow, uint32_t window);
/* OPENED with OK was sent or received. OUT_OF_RANGE when received in another phase: a breach of the protocol.
 */
enum tg_code stream_opened(struct stream_flow *flow, struct tg_error *err) TG_MUST_CHECK;

/* How much of `want` fits one DATA frame now: bounded by credit and FRAME_PAYLOAD_MAX; 0: nothing may be
 * sent. */
size_t stream_may_send(const struct stream_flow *flow, size_t want);
/* A DATA frame of len bytes was sent; at most what stream_may_send allowed: our own invariant. */
void stream_sent(struct stream_flow *flow, size_t len);
/* CLOSE with OK was sent: no DATA follows. Only while open, and once: our own invariants. */
void stream_sent_close(struct stream_flow *flow);

/* A DATA frame, WINDOW or CLOSE came from the peer, a stranger. OUT_OF_RANGE: against the rules above (not
 * open, after its CLOSE, empty, over the credit, credit of 0 or beyond STREAM_WINDOW_MAX); the connection
 * must end. Not to be called for streams that have ended: ignore such frames. */
enum tg_code stream_received(struct stream_flow *flow, size_t len, struct tg_error *err) TG_MUST_CHECK;
enum tg_code stream_received_credit(struct stream_flow *flow, uint32_t credit,
                                    struct tg_error *err) TG_MUST_CHECK;
enum tg_code stream_received_close(struct stream_flow *flow, unsigned code,
                                   struct tg_error *err) TG_MUST_CHECK;

/* len received bytes were passed on (to the target, or to the local program). Returns the credit to give back
 * with a WINDOW now, or 0: it is given back in pieces of at least a quarter of the window, and not after the
 * peer's CLOSE. */
uint32_t stream_give_back(struct stream_flow *flow, size_t len);

/* Reset by either side. Also what both CLOSEs amount to: then the phase is STREAM_ENDED by itself. */
void stream_end(struct stream_flow *flow);

#endif
