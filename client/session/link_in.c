/* The link's way down: records are decrypted into `in`, whole frames are delivered, the rest waits for its
 * other half. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "client/session/link.h"
#include "common/protocol/channel.h"

enum { BATCHES_PER_TURN = 4 }; /* then the local sockets get their turn */

enum filled { FILLED, DRAINED, ENDED };

/* Why there is no more input: for now, or (ENDED, with the reason in *why) for good. */
static enum filled read_failed(const struct link *link, int rc, struct tg_error *why)
{
    int wants = SSL_get_error(link->ssl, rc);
    if (wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE)
        return DRAINED;
    unsigned long queued = ERR_peek_error();
    if (wants == SSL_ERROR_ZERO_RETURN)
        tg_fail(why, TG_UNAVAILABLE, "the gateway closed the connection");
    else if (wants == SSL_ERROR_SYSCALL && errno != 0)
        tg_fail(why, TG_UNAVAILABLE, "the connection broke: %s", strerror(errno));
    else if (queued == 0 || ERR_GET_REASON(queued) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        tg_fail(why, TG_UNAVAILABLE, "the connection was cut");
    else
        channel_fail(why, TG_INVALID_ARGUMENT, "TLS with the gateway failed");
    ERR_clear_error();
    return ENDED;
}

/* Decrypts until the buffer is full (FILLED) or nothing more is there. */
static enum filled fill(struct link *link, struct tg_error *why)
{
    while (link->in_len < LINK_IN_SIZE) {
        size_t got = 0;
        ERR_clear_error();
        errno = 0;
        int rc = SSL_read_ex(link->ssl, link->in + link->in_len, LINK_IN_SIZE - link->in_len, &got);
        if (rc != 1)
            return read_failed(link, rc, why);
        link->in_len += got;
        link->heard = true;
        if (SSL_has_pending(link->ssl) == 0)
            return DRAINED; /* the poll tells when there is more: spares a read() that finds nothing */
    }
    return FILLED;
}

/* Takes one frame at `at`; 0 when it is not all there yet, or the link has died. */
static size_t deliver_one(struct link *link, size_t at)
{
    struct frame_header header;
    struct tg_error err;
    if (link->dead || link->in_len - at < FRAME_HEADER_LEN)
        return 0;
    enum tg_code code = frame_decode(link->in + at, FRAME_MAX, &header, &err);
    size_t len = FRAME_HEADER_LEN + header.length;
    if (code == TG_OK && link->in_len - at < len)
        return 0;
    if (code == TG_OK)
        code = link->events->frame(link->context, &header, link->in + at + FRAME_HEADER_LEN, &err);
    if (code != TG_OK) {
        link_fail(link, code, err.text);
        return 0;
    }
    return len;
}

static void deliver(struct link *link)
{
    size_t at = 0;
    for (size_t len; (len = deliver_one(link, at)) > 0;)
        at += len;
    link->events->batch_end(link->context);
    link->in_len -= at;
    memmove(link->in, link->in + at, link->in_len);
}

void link_receive(struct link *link)
{
    struct tg_error why;
    enum filled filled = FILLED;
    for (int i = 0; i < BATCHES_PER_TURN && filled == FILLED && !link->dead; i++) {
        filled = fill(link, &why);
        deliver(link);
    }
    if (filled == ENDED)
        link_fail(link, why.code, why.text); /* after what came before it, a BYE perhaps, was delivered */
    if (link->dead)
        return;
    if (filled == FILLED)
        uv_idle_start(&link->idle, link->idle.idle_cb);
    else
        uv_idle_stop(&link->idle);
}
