/* Reaching a target: look the name up, let the policy judge every address it led to, try them in turn. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/gateway/session.h"
#include "services/gateway/target.h"

enum { ADDRESSES_MAX = 8 };

struct dial {
    struct stream *stream; /* NULL: nobody waits any more */
    uv_getaddrinfo_t lookup;
    uv_timer_t timer;
    unsigned holders; /* lookup under way, timer not closed */
    bool looking_up;
    struct target_socket *socket; /* of the attempt under way */
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    size_t count, next;
    struct tg_error why; /* why the last attempt failed */
};

static void release(struct dial *dial)
{
    if (--dial->holders == 0)
        free(dial);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void dial_cancel(struct dial *dial)
{
    if (dial == NULL)
        return;
    dial->stream = NULL;
    if (dial->looking_up)
        uv_cancel((uv_req_t *)&dial->lookup); /* its callback comes in any case */
    target_socket_close(dial->socket);
    dial->socket = NULL;
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}

static void on_connected(uv_poll_t *poll, int status, int events);

/* The end of it, one way or the other. */
static void finish(struct dial *dial, enum tg_code code)
{
    struct stream *s = dial->stream;
    struct tg_error why = dial->why;
    struct target_socket *socket = dial->socket;
    s->dial = NULL;
    dial->socket = NULL;
    TG_INVARIANT(code != TG_OK || socket != NULL);
    if (code == TG_OK) {
        target_socket_poll(socket, 0, on_connected);
        socket->dial = NULL;
        socket->stream = s;
        s->socket = socket;
        socket = NULL;
    }
    target_socket_close(socket);
    dial_cancel(dial);
    stream_dialled(s, code, code == TG_OK ? NULL : why.text);
}

static void on_timeout(uv_timer_t *timer)
{
    struct dial *dial = timer->data;
    tg_fail(&dial->why, TG_DEADLINE_EXCEEDED, "%s port %u did not answer in time", dial->stream->host,
            dial->stream->port);
    finish(dial, TG_DEADLINE_EXCEEDED);
}

static void try_next(struct dial *dial);

static void attempt_failed(struct dial *dial, int problem)
{
    tg_fail(&dial->why, TG_UNAVAILABLE, "cannot reach %s port %u: %s", dial->stream->host, dial->stream->port,
            strerror(problem));
    target_socket_close(dial->socket);
    dial->socket = NULL;
    try_next(dial);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct target_socket *socket = poll->data;
    int problem = 0;
    socklen_t len = sizeof problem;
    if (status < 0)
        socket->events = 0; /* libuv has stopped polling */
    getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &problem, &len);
    if (problem == 0 && status >= 0)
        finish(socket->dial, TG_OK);
    else
        attempt_failed(socket->dial, problem != 0 ? problem : ECONNREFUSED);
}

/* A socket on its way to the address; *problem otherwise. */
static int start_connect(const struct sockaddr_storage *address, int *problem)
{
    int on = 1;
    socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *problem = errno;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)address, len) != 0 && errno != EINPROGRESS) {
        *problem = errno;
        close(fd);
        return -1;
    }
    return fd;
}

static void try_next(struct dial *dial)
{
    if (dial->next == dial->count) {
        finish(dial, dial->why.code);
        return;
    }
    int problem = ENOMEM;
    int fd = start_connect(&dial->addresses[dial->next++], &problem);
    if (fd >= 0) {
        dial->socket = target_socket_new(dial->timer.loop, fd);
        if (dial->socket != NULL) {
            dial->socket->dial = dial;
            target_socket_poll(dial->socket, UV_WRITABLE, on_connected);
            return;
        }
        close(fd);
    }
    attempt_failed(dial, problem);
}

/* Keeps the addresses that the policy allows. */
static void judge(struct dial *dial, const struct addrinfo *found)
{
    const struct stream *s = dial->stream;
    const struct policy *policy = s->connection->session->policy;
    tg_fail(&dial->why, TG_NOT_FOUND, "%s has no address", s->host);
    for (; found != NULL && dial->count < ADDRESSES_MAX; found = found->ai_next) {
        if (policy_check_address(policy, s->host, s->port, found->ai_addr, &dial->why) != TG_OK)
            continue;
        memcpy(&dial->addresses[dial->count++], found->ai_addr, found->ai_addrlen);
    }
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct dial *dial = lookup->data;
    dial->looking_up = false;
    if (dial->stream != NULL && status == 0) {
        judge(dial, found);
        try_next(dial);
    } else if (dial->stream != NULL) {
        tg_fail(&dial->why, TG_NOT_FOUND, "cannot look up %s: %s", dial->stream->host, uv_strerror(status));
        finish(dial, TG_NOT_FOUND);
    }
    uv_freeaddrinfo(found);
    release(dial);
}

/* An address needs no resolver, which may block: done at once. True: it was one. */
static bool dial_address(struct dial *dial, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
    /* getaddrinfo takes forms like 127.1 as well; policy_check_address sees what they mean. */
    if (getaddrinfo(dial->stream->host, port, &hints, &found) != 0)
        return false;
    judge(dial, found);
    freeaddrinfo(found);
    try_next(dial);
    return true;
}

void target_dial(struct stream *s)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct worker *worker = s->connection->worker;
    struct dial *dial = calloc(1, sizeof *dial);
    char port[8];
    if (dial == NULL) {
        stream_dialled(s, TG_RESOURCE_EXHAUSTED, "the gateway is out of memory");
        return;
    }
    s->dial = dial;
    dial->stream = s;
    dial->holders = 1;
    uv_timer_init(&worker->loop, &dial->timer);
    dial->timer.data = dial->lookup.data = dial;
    uv_timer_start(&dial->timer, on_timeout, worker->gateway->dial_timeout_ms, 0);
    snprintf(port, sizeof port, "%u", s->port);
    if (dial_address(dial, port))
        return;
    dial->looking_up = true;
    dial->holders++;
    int rc = uv_getaddrinfo(&worker->loop, &dial->lookup, on_found, s->host, port, &hints);
    if (rc != 0)
        on_found(&dial->lookup, rc, NULL);
}
