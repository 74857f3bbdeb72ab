/* A session: the user is in (step 14) and works on intranet systems through streams. */
#ifndef TG_GATEWAY_SESSION_H
#define TG_GATEWAY_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ticket_info.h"
#include "services/gateway/connection.h"
#include "services/gateway/handshake.h"

enum { SESSION_BUCKETS = 64, SESSION_CAUSE_MAX = 256 };

struct session {
    uint8_t id[SESSION_ID_LEN];
    char hex[2 * SESSION_ID_LEN + 1];
    char user[HANDSHAKE_USER_MAX + 1];
    char shield_id[TICKET_INFO_TEXT_MAX + 1];
    const struct policy *policy;   /* of the connection's terms */
    char cause[SESSION_CAUSE_MAX]; /* why it ends; "": the connection was lost */

    uint64_t started_us; /* Unix time */
    uint64_t ends_ms;    /* loop time; 0: no Session-Timeout */
    uint64_t idle_ms;    /* 0: no Idle-Timeout */
    uint64_t active_ms;  /* loop time of the last OPEN or DATA, either way */
    uint64_t bytes_in;   /* from the client to targets */
    uint64_t bytes_out;

    struct stream *buckets[SESSION_BUCKETS]; /* by number */
    uint32_t stream_count;
    uint32_t last_number;  /* highest stream number so far */
    struct stream *paused; /* do not read from their targets while the client takes nothing */
};

/* Ends it: BYE{code, text}, leave. cause: for the audit log. */
void session_bye(struct connection *c, enum tg_code code, const char *text, const char *cause);
/* The connection leaves or closes: ends all streams, reports "session.ended", frees. Without a session:
 * nothing. */
void session_end(struct connection *c);
/* Session-Timeout, Idle-Timeout. */
void session_on_timer(struct connection *c);
/* The client takes data again. */
void session_unblocked(struct connection *c);
/* Something was done for the user: Idle-Timeout starts anew. */
static inline void session_active(struct connection *c)
{
    c->session->active_ms = uv_now(&c->worker->loop);
}

#endif
