#include "services/gateway/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/secret.h"
#include "services/gateway/refuse.h"
#include "services/gateway/steps.h"
#include "services/gateway/streams.h"
#include "services/gateway/tls.h"

enum { TURNS = 8 }; /* batches of one connection before others get their turn */

/* One handler for each message of a client; what is legal when stands in common/protocol/order.c. */
static client_message_handler *const handlers[] = {
    [FRAME_HELLO] = identity_on_hello,   [FRAME_AUTHENTICATE] = key_request_on_authenticate,
    [FRAME_LOGIN] = login_info_on_login, [FRAME_ANSWER] = login_info_on_answer,
    [FRAME_OPEN] = streams_on_open,      [FRAME_DATA] = streams_on_data,
    [FRAME_WINDOW] = streams_on_window,  [FRAME_CLOSE] = streams_on_close,
    [FRAME_PING] = session_on_ping,      [FRAME_PONG] = session_on_pong,
    [FRAME_BYE] = session_on_bye,
};
enum { HANDLERS = sizeof handlers / sizeof handlers[0] };

static bool has_handler(unsigned type)
{
    return type < HANDLERS && handlers[type] != NULL;
}

void dispatch_check_table(void)
{
    for (unsigned i = 0; i < order_table_len; i++) {
        const struct order_row *row = &order_table[i];
        TG_INVARIANT(row->sender != ORDER_CLIENT || row->type == 0 || has_handler(row->type));
    }
}

enum tg_code dispatch_unpack(const struct message *message, const ProtobufCMessageDescriptor *type,
                             ProtobufCMessage **out, struct tg_error *err)
{
    *out = pb_unpack(type, message->payload, message->header.length);
    TG_ENSURE(*out != NULL, err, TG_INVALID_ARGUMENT, "malformed %s", frame_name(message->header.type));
    return TG_OK;
}

static enum tg_code handle(struct connection *c, const struct message *message, struct tg_error *err)
{
    uint8_t type = message->header.type;
    const struct order_row *row = order_find(c->state, ORDER_CLIENT, type);
    TG_ENSURE(row != NULL, err, TG_INVALID_ARGUMENT, "%s while %s", frame_name(type),
              order_state_name(c->state));
    TG_INVARIANT(has_handler(type));
    if (type != FRAME_DATA)
        streams_flush(c->worker);
    if (row->next != c->state)
        connection_enter(c, row->next);
    return handlers[type](c, message, err);
}

static bool client_may_send(enum order_state state)
{
    for (unsigned i = 0; i < order_table_len; i++)
        if (order_table[i].state == state && order_table[i].sender == ORDER_CLIENT &&
            order_table[i].type != 0)
            return true;
    return false;
}

static enum tg_code keep_partial(struct connection *c, const uint8_t *bytes, size_t len, struct tg_error *err)
{
    TG_ENSURE(client_may_send(c->state), err, TG_INVALID_ARGUMENT, "%zu bytes out of turn, %s", len,
              order_state_name(c->state));
    if (c->partial == NULL)
        c->partial = malloc(FRAME_MAX);
    TG_ENSURE(c->partial != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    memcpy(c->partial, bytes, len);
    c->partial_len = len;
    return TG_OK;
}

/* Handles all whole frames and keeps the rest. */
static enum tg_code handle_all(struct connection *c, const uint8_t *bytes, size_t len, struct tg_error *err)
{
    while (len >= FRAME_HEADER_LEN && !c->closed && !c->leaving) {
        struct message message = {.frame = bytes, .payload = bytes + FRAME_HEADER_LEN};
        size_t max = c->state == ORDER_SESSION ? FRAME_MAX : FRAME_MAX_BEFORE_LOGIN;
        TG_TRY(frame_decode(bytes, max, &message.header, err));
        size_t whole = FRAME_HEADER_LEN + message.header.length;
        if (whole > len)
            break;
        TG_TRY(handle(c, &message, err));
        bytes += whole;
        len -= whole;
    }
    if (len > 0 && !c->closed && !c->leaving)
        return keep_partial(c, bytes, len, err);
    return TG_OK;
}

/* Collects bytes in the worker's buffer, the kept beginning first. Before the session one record at a time,
 * since each message changes what may follow; in it as many as there are. */
static enum tls_result read_batch(struct connection *c, size_t *len, struct tg_error *err)
{
    uint8_t *in = c->worker->in;
    *len = c->partial_len;
    if (c->partial_len > 0) {
        memcpy(in, c->partial, c->partial_len);
        secret_wipe(c->partial, c->partial_len);
        c->partial_len = 0;
    }
    while (sizeof c->worker->in - *len >= FRAME_MAX) {
        size_t n;
        enum tls_result result = tls_read(c, in + *len, FRAME_MAX, &n, err);
        if (result != TLS_DONE)
            return result;
        *len += n;
        if (c->state != ORDER_SESSION)
            break;
    }
    return TLS_DONE;
}

/* True: there may be more to read at once. */
static bool read_and_handle(struct connection *c)
{
    struct tg_error err, broken;
    size_t len;
    bool secret = c->state != ORDER_SESSION;
    SSL *ssl = c->ssl;
    enum tls_result result = read_batch(c, &len, &broken);
    enum tg_code code = handle_all(c, c->worker->in, len, &err);
    streams_flush(c->worker);
    if (secret)
        secret_wipe(c->worker->in, len);
    if (code != TG_OK)
        refuse(c, &err);
    else if (result == TLS_BROKEN)
        refuse(c, &broken);
    else if (result == TLS_END)
        connection_close(c);
    return result == TLS_DONE && !c->closed && !c->leaving && c->ssl == ssl;
}

void dispatch_read(struct connection *c)
{
    for (int turn = 0; turn < TURNS; turn++)
        if (!read_and_handle(c))
            return;
    worker_continue_later(c->worker, c);
}
