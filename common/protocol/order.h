/* The legal order of the handshake, as data (STYLE.md 1): one table that client and gateway share. Whatever
 * is not in it is one error, one audit event, and the connection closes. */
#ifndef TG_COMMON_PROTOCOL_ORDER_H
#define TG_COMMON_PROTOCOL_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/protocol/frame.h"

enum order_sender { ORDER_CLIENT, ORDER_GATEWAY };

/* Where a connection stands. */
enum order_state {
    ORDER_TLS,           /* first TLS handshake */
    ORDER_HELLO,         /* waiting for HELLO (step 1) */
    ORDER_IDENTITY,      /* for IDENTITY (2) */
    ORDER_AUTHENTICATE,  /* for AUTHENTICATE (3 to 6) */
    ORDER_AUTHENTICATED, /* for AUTHENTICATED (7 to 9) */
    ORDER_CHANNEL,       /* second TLS handshake (10) */
    ORDER_LOGIN,         /* for LOGIN (10) */
    ORDER_VERDICT,       /* for WELCOME or CHALLENGE (11 to 13) */
    ORDER_ANSWER,        /* for ANSWER */
    ORDER_SESSION,       /* in (14) */
    ORDER_STATES,
    ORDER_CLOSED = ORDER_STATES /* after REFUSED or BYE: nothing is legal any more */
};

/* A row: in `state`, `sender` may send `type`; then the connection is in `next`. deadline_ms: how long the
 * state may last before the other side gives up (a default that the gateway's configuration may lower). */
struct order_row {
    enum order_state state;
    enum order_sender sender;
    uint8_t type; /* enum frame_type; 0: a TLS handshake, not a frame */
    uint32_t deadline_ms;
    enum order_state next;
};

extern const struct order_row order_table[];
extern const unsigned order_table_len;

/* The row that allows `type` from `sender` in `state`, or NULL: refuse. In ORDER_SESSION, the session's own
 * frames. REFUSED is legal from the gateway in every state before ORDER_SESSION; it and BYE lead to
 * ORDER_CLOSED. Any thread. */
const struct order_row *order_find(enum order_state state, enum order_sender sender, uint8_t type);
/* Deadline of a state in ms; 0: none. */
uint32_t order_deadline_ms(enum order_state state);
/* "waiting for HELLO" and so on, for logs. */
const char *order_state_name(enum order_state state);

enum order_limits { ORDER_CHALLENGE_ROUNDS = 8 };

#endif
