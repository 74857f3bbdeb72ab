#include "common/protocol/order.h"

#include <stddef.h>

enum {
    NETWORK_MS = 5000,  /* machines at both ends, no person waited for */
    KEY_MS = 10000,     /* the shield is at work: a token or a slow disk */
    LOGIN_MS = 10000,   /* login info was asked for before the connection was made */
    VERDICT_MS = 90000, /* RADIUS with a push approval takes a minute */
    ANSWER_MS = 120000, /* a person types a one-time password */
    NONE_MS = 0         /* the session's own timeouts hold */
};

const struct order_row order_table[] = {
    {ORDER_TLS, ORDER_CLIENT, 0, NETWORK_MS, ORDER_HELLO},
    {ORDER_HELLO, ORDER_CLIENT, FRAME_HELLO, NETWORK_MS, ORDER_IDENTITY},
    {ORDER_IDENTITY, ORDER_GATEWAY, FRAME_IDENTITY, NETWORK_MS, ORDER_AUTHENTICATE},
    {ORDER_AUTHENTICATE, ORDER_CLIENT, FRAME_AUTHENTICATE, KEY_MS, ORDER_AUTHENTICATED},
    {ORDER_AUTHENTICATED, ORDER_GATEWAY, FRAME_AUTHENTICATED, NETWORK_MS, ORDER_CHANNEL},
    {ORDER_CHANNEL, ORDER_CLIENT, 0, NETWORK_MS, ORDER_LOGIN},
    {ORDER_LOGIN, ORDER_CLIENT, FRAME_LOGIN, LOGIN_MS, ORDER_VERDICT},
    {ORDER_VERDICT, ORDER_GATEWAY, FRAME_CHALLENGE, VERDICT_MS, ORDER_ANSWER},
    {ORDER_VERDICT, ORDER_GATEWAY, FRAME_WELCOME, VERDICT_MS, ORDER_SESSION},
    {ORDER_ANSWER, ORDER_CLIENT, FRAME_ANSWER, ANSWER_MS, ORDER_VERDICT},

    {ORDER_SESSION, ORDER_CLIENT, FRAME_OPEN, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_OPENED, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_DATA, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_DATA, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_WINDOW, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_WINDOW, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_CLOSE, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_CLOSE, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_PING, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_PING, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_PONG, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_PONG, NONE_MS, ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, FRAME_BYE, NONE_MS, ORDER_CLOSED},
    {ORDER_SESSION, ORDER_GATEWAY, FRAME_BYE, NONE_MS, ORDER_CLOSED},
};
const unsigned order_table_len = sizeof order_table / sizeof order_table[0];

/* The gateway may say no wherever it stands, so this is one row for all states, kept out of the table of
 * progress. */
static const struct order_row refusal = {ORDER_CLOSED, ORDER_GATEWAY, FRAME_REFUSED, NONE_MS, ORDER_CLOSED};

const struct order_row *order_find(enum order_state state, enum order_sender sender, uint8_t type)
{
    if (type == FRAME_REFUSED && sender == ORDER_GATEWAY && state < ORDER_SESSION)
        return &refusal;
    for (unsigned i = 0; i < order_table_len; i++) {
        const struct order_row *row = &order_table[i];
        if (row->state == state && row->sender == sender && row->type == type)
            return row;
    }
    return NULL;
}

uint32_t order_deadline_ms(enum order_state state)
{
    for (unsigned i = 0; i < order_table_len; i++)
        if (order_table[i].state == state)
            return order_table[i].deadline_ms;
    return NONE_MS;
}

const char *order_state_name(enum order_state state)
{
    static const char *const names[ORDER_STATES] = {
        [ORDER_TLS] = "in the first TLS handshake",
        [ORDER_HELLO] = "waiting for HELLO",
        [ORDER_IDENTITY] = "waiting for IDENTITY",
        [ORDER_AUTHENTICATE] = "waiting for AUTHENTICATE",
        [ORDER_AUTHENTICATED] = "waiting for AUTHENTICATED",
        [ORDER_CHANNEL] = "building the channel",
        [ORDER_LOGIN] = "waiting for LOGIN",
        [ORDER_VERDICT] = "waiting for WELCOME or CHALLENGE",
        [ORDER_ANSWER] = "waiting for ANSWER",
        [ORDER_SESSION] = "in the session",
    };
    return state < ORDER_STATES ? names[state] : "closed";
}
