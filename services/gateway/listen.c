/* Listening sockets, one for each worker (SO_REUSEPORT: the kernel spreads connections over them), and
 * accepting. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "services/gateway/connection.h"
#include "services/gateway/rate.h"

enum { BACKLOG = 1024, ACCEPTS_PER_TURN = 32, PAUSE_MS = 100 };

/* ---- opening ---- */

static enum tg_code split(const char *where, char *host, size_t host_size, const char **port,
                          struct tg_error *err)
{
    const char *colon = strrchr(where, ':'), *start = where;
    TG_ENSURE(colon != NULL && colon[1] != '\0', err, TG_INVALID_ARGUMENT, "listen: \"%s\" is not host:port",
              where);
    size_t len = (size_t)(colon - where);
    if (len >= 2 && where[0] == '[' && colon[-1] == ']') {
        start++;
        len -= 2;
    }
    TG_ENSURE(len > 0 && len < host_size, err, TG_INVALID_ARGUMENT, "listen: \"%s\" is not host:port", where);
    memcpy(host, start, len);
    host[len] = '\0';
    *port = colon + 1;
    return TG_OK;
}

static enum tg_code look_up(const char *where, struct sockaddr_storage *address, socklen_t *len,
                            struct tg_error *err)
{
    char host[128];
    const char *port = NULL;
    TG_TRY(split(where, host, sizeof host, &port, err));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    int rc = getaddrinfo(host, port, &hints, &found);
    TG_ENSURE(rc == 0, err, TG_INVALID_ARGUMENT, "listen: %s: %s", where, gai_strerror(rc));
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return TG_OK;
}

/* Accepted sockets inherit these from the listening one (Linux). */
static void set_options(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        /* A client whose machine is gone says nothing: found out within about a minute. */
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 60000},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

static int bind_socket(const struct sockaddr_storage *address, socklen_t len, bool shared)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    set_options(fd);
    if ((!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        bind(fd, (const struct sockaddr *)address, len) == 0 && (!shared || listen(fd, BACKLOG) == 0))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* With SO_REUSEPORT a second gateway could start on the same port and take half of the clients: a socket
 * without it fails then, and says so. */
static bool is_taken(const struct sockaddr_storage *address, socklen_t len)
{
    int probe = bind_socket(address, len, false);
    if (probe >= 0)
        close(probe);
    return probe < 0;
}

enum tg_code listen_open(const char *where, int *fds, size_t count, char address[static 80],
                         struct tg_error *err)
{
    struct sockaddr_storage wanted = {0};
    socklen_t len;
    TG_TRY(look_up(where, &wanted, &len, err));
    TG_ENSURE(!is_taken(&wanted, len), err, TG_UNAVAILABLE, "cannot listen on %s: %s", where,
              strerror(errno));
    size_t opened = 0;
    while (opened < count && (fds[opened] = bind_socket(&wanted, len, true)) >= 0)
        getsockname(fds[opened++], (struct sockaddr *)&wanted,
                    &len); /* port 0: the others take the same port */
    if (opened < count) {
        tg_fail(err, TG_UNAVAILABLE, "cannot listen on %s: %s", where, strerror(errno));
        for (size_t i = 0; i < opened; i++)
            close(fds[i]);
        return TG_UNAVAILABLE;
    }
    listen_describe(&wanted, address);
    return TG_OK;
}

void listen_describe(const struct sockaddr_storage *address, char *text)
{
    char host[INET6_ADDRSTRLEN + 16] = "?", port[8] = "0";
    bool v6 = address->ss_family == AF_INET6;
    socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    getnameinfo((const struct sockaddr *)address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, CONNECTION_SOURCE_LEN, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* ---- accepting ---- */

/* Over the bounds: closed with a reset at once, so that neither side keeps anything. */
static void turn_away(struct gateway *g, const struct sockaddr_storage *address, int fd,
                      enum admission_answer why)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char source[CONNECTION_SOURCE_LEN];
    uint64_t silent;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    if (!rate_allows(&g->turned_away, &silent))
        return;
    listen_describe(address, source);
    LOG(LOG_WARNING, NULL, "connection.turned_away", LOG_TEXT("source", source),
        LOG_TEXT("reason", why == ADMISSION_FULL ? "half_open_max" : "half_open_per_source"),
        LOG_NUMBER("not_logged_before", silent));
}

static void welcome(struct worker *worker, int fd, const struct sockaddr_storage *address)
{
    struct source source = source_of((const struct sockaddr *)address);
    struct admission *admission = worker->gateway->admission;
    enum admission_answer answer = admission_enter(admission, source);
    if (answer != ADMITTED) {
        turn_away(worker->gateway, address, fd, answer);
        return;
    }
    struct connection *c = connection_new(worker, fd, address, source);
    if (c == NULL)
        admission_leave(admission, source);
    else
        connection_start(c);
}

static void on_connections(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uv_poll_start(&worker->accepting, UV_READABLE, on_connections);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct worker *worker = poll->data;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(worker->listen_fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(worker, fd, &address);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            LOG(LOG_ERROR, NULL, "connection.not_accepted", LOG_TEXT("error", strerror(errno)),
                LOG_TEXT("remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=)"));
            uv_poll_stop(poll);
            uv_timer_start(&worker->accept_pause, on_pause_over, PAUSE_MS, 0);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

enum tg_code listen_start(struct worker *worker, struct tg_error *err)
{
    int rc = uv_poll_init(&worker->loop, &worker->accepting, worker->listen_fd);
    if (rc == 0)
        rc = uv_poll_start(&worker->accepting, UV_READABLE, on_connections);
    TG_ENSURE(rc == 0, err, TG_INTERNAL, "cannot poll the listening socket: %s", uv_strerror(rc));
    worker->accepting.data = worker;
    return TG_OK;
}

void listen_stop(struct worker *worker)
{
    if (worker->listen_fd < 0)
        return;
    uv_timer_stop(&worker->accept_pause);
    uv_poll_stop(&worker->accepting);
    uv_close((uv_handle_t *)&worker->accepting, NULL);
    close(worker->listen_fd);
    worker->listen_fd = -1;
}
