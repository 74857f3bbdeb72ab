#include "client/login/login.h"

#include <stdio.h>
#include <unistd.h>

#include "client/login/handshake.h"
#include "common/pb.h"

/* What we do in each state of the legal order: send, or take what the gateway sent. */
static const struct handler {
    enum tg_code (*send)(struct handshake *h, struct tg_error *err);
    enum tg_code (*receive)(struct handshake *h, const struct wire_frame *frame, struct tg_error *err);
} handlers[] = {
    [ORDER_TLS] = {.send = gateway_connect},          [ORDER_HELLO] = {.send = hello_send},
    [ORDER_IDENTITY] = {.receive = identity_receive}, [ORDER_AUTHENTICATE] = {.send = authenticate_send},
    [ORDER_AUTHENTICATED] = {.receive = proof_check}, [ORDER_CHANNEL] = {.send = channel_build},
    [ORDER_LOGIN] = {.send = login_info_send},        [ORDER_VERDICT] = {.receive = verdict_receive},
    [ORDER_ANSWER] = {.send = answer_send},
};
_Static_assert(sizeof handlers / sizeof *handlers == ORDER_SESSION,
               "a handler for each state before the session");

static const struct order_row *row_of(enum order_state state)
{
    for (unsigned i = 0; i < order_table_len; i++) {
        if (order_table[i].state == state)
            return &order_table[i];
    }
    TG_INVARIANT(!"every state before the session has a row");
    return NULL;
}

/* A little longer than the gateway has: its reason for giving up is worth more than ours. */
enum { GRACE_MS = 3000 };

static void start_deadline(struct handshake *h)
{
    uint32_t ms =
        h->request->deadline_ms != 0 ? h->request->deadline_ms : order_deadline_ms(h->state) + GRACE_MS;
    h->wire.deadline_ms = clock_now_ms() + ms;
}

/* Takes the gateway's next frame, if the legal order allows it here. */
static enum tg_code receive(struct handshake *h, struct tg_error *err)
{
    struct wire_frame frame;
    TG_TRY(wire_read_frame(&h->wire, &frame, err));
    if (frame.header.type == FRAME_REFUSED)
        return refused_receive(h, &frame, err);
    const struct order_row *row = order_find(h->state, ORDER_GATEWAY, frame.header.type);
    TG_ENSURE(row != NULL, err, TG_INVALID_ARGUMENT, "the gateway sent %s while we were %s",
              frame_name(frame.header.type), order_state_name(h->state));
    if (h->state <= ORDER_AUTHENTICATED)
        transcript_add(h->transcript, frame.bytes, FRAME_HEADER_LEN + frame.header.length);
    TG_TRY(handlers[h->state].receive(h, &frame, err));
    h->state = row->next;
    return TG_OK;
}

/* The gateway may have refused and closed before we sent: then its reason is worth more than a broken pipe.
 */
static enum tg_code look_for_refusal(struct handshake *h, enum tg_code code, struct tg_error *err)
{
    struct wire_frame frame;
    bool before_send_is_over = h->wire.ssl != NULL && SSL_is_init_finished(h->wire.ssl);
    if (code == TG_UNAVAILABLE && before_send_is_over && wire_read_frame(&h->wire, &frame, NULL) == TG_OK &&
        frame.header.type == FRAME_REFUSED)
        return refused_receive(h, &frame, err);
    return code;
}

static enum tg_code step(struct handshake *h, struct tg_error *err)
{
    start_deadline(h);
    if (handlers[h->state].receive != NULL)
        return receive(h, err);
    enum tg_code code = handlers[h->state].send(h, err);
    if (code != TG_OK)
        return look_for_refusal(h, code, err);
    h->state = row_of(h->state)->next;
    return TG_OK;
}

static enum client_exit exit_for(const struct handshake *h, enum tg_code code)
{
    if (h->exit != EXIT_OK)
        return h->exit;
    switch ((unsigned)code) {
    case TG_UNAVAILABLE:
    case TG_DEADLINE_EXCEEDED:
        return EXIT_GATEWAY_UNREACHABLE;
    case TG_INVALID_ARGUMENT:
    case TG_UNAUTHENTICATED:
        return EXIT_PROTOCOL;
    default:
        return EXIT_INTERNAL;
    }
}

static void hand_over(struct handshake *h, struct login_session *session)
{
    *session = (struct login_session){
        .ssl = h->wire.ssl, .fd = h->wire.fd, .welcome = h->welcome, .suite = h->suite};
    snprintf(session->qkud_id, sizeof session->qkud_id, "%s", h->qkud_id);
    h->wire = (struct wire){.fd = -1};
    h->welcome = NULL;
}

static void handshake_end(struct handshake *h)
{
    wire_close(&h->wire);
    pb_free(h->welcome != NULL ? &h->welcome->base : NULL);
    secret_free(h->answer);
    secret_free(h->client_random);
    schedule_wipe(&h->schedule);
    if (h->key != NULL)
        shield_key_free(h->key);
    transcript_free(h->transcript);
}

enum client_exit login_run(const struct login_request *request, struct login_session *session,
                           struct tg_error *err)
{
    struct handshake h = {.request = request, .wire = {.fd = -1}, .state = ORDER_TLS};
    h.transcript = transcript_new();
    enum tg_code code = h.transcript != NULL ? TG_OK : tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory");
    while (code == TG_OK && h.state != ORDER_SESSION)
        code = step(&h, err);
    *session = (struct login_session){.fd = -1};
    if (code == TG_OK)
        hand_over(&h, session);
    enum client_exit how = code == TG_OK ? EXIT_OK : exit_for(&h, code);
    handshake_end(&h);
    return how;
}

void login_session_close(struct login_session *session)
{
    SSL_free(session->ssl);
    if (session->fd >= 0)
        close(session->fd);
    pb_free(session->welcome != NULL ? &session->welcome->base : NULL);
    *session = (struct login_session){.fd = -1};
}
