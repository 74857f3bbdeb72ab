#include "client/login/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/protocol/channel.h"
#include "common/trace.h"

/* Waits until the socket is ready for `events`, or the deadline has come. */
static enum tg_code wait_for(const struct wire *wire, short events, struct tg_error *err)
{
    struct pollfd pfd = {.fd = wire->fd, .events = events};
    for (;;) {
        uint64_t now = clock_now_ms();
        TG_ENSURE(now < wire->deadline_ms, err, TG_DEADLINE_EXCEEDED, "the gateway did not answer in time");
        uint64_t left = wire->deadline_ms - now;
        int n = poll(&pfd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return TG_OK;
        TG_ENSURE(n == 0 || errno == EINTR, err, TG_INTERNAL, "poll: %s", strerror(errno));
    }
}

static enum tg_code connect_one(struct wire *wire, const struct addrinfo *address, struct tg_error *err)
{
    wire->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    TG_ENSURE(wire->fd >= 0, err, TG_UNAVAILABLE, "socket: %s", strerror(errno));
    if (connect(wire->fd, address->ai_addr, address->ai_addrlen) != 0) {
        TG_ENSURE(errno == EINPROGRESS, err, TG_UNAVAILABLE, "%s", strerror(errno));
        TG_TRY(wait_for(wire, POLLOUT, err));
        int failure = 0;
        socklen_t len = sizeof failure;
        getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &failure, &len);
        TG_ENSURE(failure == 0, err, TG_UNAVAILABLE, "%s", strerror(failure));
    }
    int on = 1;
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return TG_OK;
}

enum tg_code wire_connect(struct wire *wire, const char *host, uint16_t port, struct tg_error *err)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, service, &hints, &list);
    TG_ENSURE(rc == 0, err, TG_UNAVAILABLE, "cannot resolve the gateway's name %s: %s", host,
              gai_strerror(rc));

    struct tg_error why = {.code = TG_UNAVAILABLE};
    enum tg_code code = TG_UNAVAILABLE;
    for (const struct addrinfo *a = list; a != NULL && code == TG_UNAVAILABLE; a = a->ai_next) {
        wire_close(wire);
        code = connect_one(wire, a, &why);
    }
    freeaddrinfo(list);
    TG_ENSURE(code == TG_OK, err, code, "cannot reach the gateway at %s port %u: %s", host, port, why.text);
    return TG_OK;
}

/* After an SSL call that returned rc <= 0: waits for what it wants, or says why there is no going on. */
static enum tg_code wait_for_tls(const struct wire *wire, int rc, struct tg_error *err)
{
    int wants = SSL_get_error(wire->ssl, rc);
    if (wants == SSL_ERROR_WANT_READ)
        return wait_for(wire, POLLIN, err);
    if (wants == SSL_ERROR_WANT_WRITE)
        return wait_for(wire, POLLOUT, err);
    unsigned long queued = ERR_peek_error();
    bool cut =
        ERR_GET_LIB(queued) == ERR_LIB_SSL && ERR_GET_REASON(queued) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    if (wants == SSL_ERROR_ZERO_RETURN || (wants == SSL_ERROR_SYSCALL && queued == 0) || cut) {
        ERR_clear_error();
        return tg_fail(err, TG_UNAVAILABLE, "the gateway closed the connection");
    }
    return channel_fail(err, TG_UNAUTHENTICATED, "TLS with the gateway failed");
}

enum tg_code wire_tls_handshake(struct wire *wire, struct tg_error *err)
{
    for (;;) {
        ERR_clear_error();
        int rc = SSL_connect(wire->ssl);
        if (rc == 1)
            return TG_OK;
        TG_TRY(wait_for_tls(wire, rc, err));
    }
}

enum tg_code wire_write(struct wire *wire, const void *bytes, size_t len, struct tg_error *err)
{
    for (;;) {
        size_t written = 0;
        ERR_clear_error();
        int rc = SSL_write_ex(wire->ssl, bytes, len, &written);
        if (rc == 1)
            return TG_OK; /* without partial writes all of it is out */
        TG_TRY(wait_for_tls(wire, rc, err));
    }
}

static enum tg_code read_exactly(struct wire *wire, uint8_t *out, size_t len, struct tg_error *err)
{
    for (size_t have = 0; have < len;) {
        size_t got = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(wire->ssl, out + have, len - have, &got);
        if (rc != 1)
            TG_TRY(wait_for_tls(wire, rc, err));
        have += got;
    }
    return TG_OK;
}

enum tg_code wire_read_frame(struct wire *wire, struct wire_frame *frame, struct tg_error *err)
{
    TG_TRY(read_exactly(wire, frame->bytes, FRAME_HEADER_LEN, err));
    TG_TRY(frame_decode(frame->bytes, FRAME_MAX_BEFORE_LOGIN, &frame->header, err));
    return read_exactly(wire, frame->bytes + FRAME_HEADER_LEN, frame->header.length, err);
}

void wire_close(struct wire *wire)
{
    SSL_free(wire->ssl);
    wire->ssl = NULL;
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}
