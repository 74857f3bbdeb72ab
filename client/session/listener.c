/* Local ports (-L): each connection to one becomes a tunnel. When streams or descriptors have run out, new
 * connections wait in the kernel's queue until one is free again. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/session/state.h"

enum { ACCEPTS_PER_TURN = 16, BACKLOG = 128 };

static void on_connection(uv_poll_t *poll, int status, int events);

static bool streams_left(const struct session *session)
{
    return session->tunnel_count < session->login->welcome->max_streams && link_control_room(&session->link);
}

static void watch_all(struct session *session, bool on)
{
    session->listening = on;
    for (size_t i = 0; i < session->listener_count; i++) {
        if (on)
            uv_poll_start(&session->listeners[i].poll, UV_READABLE, on_connection);
        else
            uv_poll_stop(&session->listeners[i].poll);
    }
}

void listeners_pause(struct session *session)
{
    if (session->listening)
        watch_all(session, false);
}

void listeners_resume(struct session *session)
{
    if (!session->listening && !session->ending && streams_left(session))
        watch_all(session, true);
}

static void say_full(struct session *session, const char *what)
{
    char text[128];
    snprintf(text, sizeof text, "%s: new connections wait until one is free", what);
    SAY(session->options->say, LOG_WARNING, "forward.full", text,
        LOG_NUMBER("streams", session->tunnel_count));
    listeners_pause(session);
}

/* True: there may be more to accept. */
static bool accept_one(struct listener *listener)
{
    struct session *session = listener->session;
    if (!streams_left(session)) {
        say_full(session, "all streams of this session are in use");
        return false;
    }
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            say_full(session, strerror(errno)); /* taken up again by the keep-alive timer */
        return errno == ECONNABORTED || errno == EINTR;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tunnel_open(session, fd, fd, &listener->spec->target) != NULL)
        return true;
    close(fd);
    return false;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(poll->data); i++)
        ;
}

static enum tg_code bind_to(struct listener *listener, const struct addrinfo *address, const char *name,
                            struct tg_error *err)
{
    listener->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    TG_ENSURE(listener->fd >= 0, err, TG_UNAVAILABLE, "cannot listen on %s: %s", name, strerror(errno));
    int on = 1;
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    TG_ENSURE(bind(listener->fd, address->ai_addr, address->ai_addrlen) == 0 &&
                  listen(listener->fd, BACKLOG) == 0,
              err, TG_UNAVAILABLE, "cannot listen on %s: %s; choose another port (0 takes a free one)", name,
              strerror(errno));
    return TG_OK;
}

static enum tg_code listener_bind(struct listener *listener, struct tg_error *err)
{
    const struct host_port *local = &listener->spec->local;
    char port[8], name[HOST_PORT_TEXT_LEN];
    snprintf(port, sizeof port, "%u", local->port);
    host_port_text(local, name, sizeof name);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(strcmp(local->host, "*") == 0 ? NULL : local->host, port, &hints, &list);
    TG_ENSURE(rc == 0, err, TG_INVALID_ARGUMENT, "cannot listen on %s: %s", name, gai_strerror(rc));
    enum tg_code code = bind_to(listener, list, name, err);
    freeaddrinfo(list);
    return code;
}

/* Says the address that was really taken: port 0 has become one. */
static void say_listening(const struct listener *listener)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    char host[NI_MAXHOST], port[8];
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &len) != 0 ||
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    struct host_port taken = {.port = (uint16_t)strtoul(port, NULL, 10)};
    snprintf(taken.host, sizeof taken.host, "%.*s", ADDRESS_HOST_MAX, host);
    char local[HOST_PORT_TEXT_LEN], target[HOST_PORT_TEXT_LEN], text[2 * HOST_PORT_TEXT_LEN + 32];
    host_port_text(&taken, local, sizeof local);
    host_port_text(&listener->spec->target, target, sizeof target);
    snprintf(text, sizeof text, "forwarding %s to %s", local, target);
    SAY(listener->session->options->say, LOG_INFO, "forward.listening", text, LOG_TEXT("listen", local),
        LOG_NUMBER("port", taken.port), LOG_TEXT("target", target));
}

enum tg_code listeners_open(struct session *session, struct tg_error *err)
{
    for (size_t i = 0; i < session->options->forward_count; i++) {
        struct listener *listener = &session->listeners[i];
        *listener = (struct listener){.session = session, .spec = &session->options->forwards[i], .fd = -1};
        enum tg_code code = listener_bind(listener, err);
        if (code == TG_OK && uv_poll_init(&session->loop, &listener->poll, listener->fd) != 0)
            code = tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of descriptors or memory");
        if (code != TG_OK) {
            if (listener->fd >= 0)
                close(listener->fd);
            return code;
        }
        listener->poll.data = listener;
        session->listener_count++;
        say_listening(listener);
    }
    watch_all(session, true);
    return TG_OK;
}

void listeners_close(struct session *session)
{
    for (size_t i = 0; i < session->listener_count; i++) {
        uv_close((uv_handle_t *)&session->listeners[i].poll, NULL);
        close(session->listeners[i].fd);
    }
    session->listener_count = 0;
    session->listening = false;
}
