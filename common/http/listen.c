#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/internal.h"

enum { BACKLOG = 128 };

static enum tg_code look_up(const char *text, struct sockaddr_storage *address, socklen_t *len,
                            struct tg_error *err)
{
    char host[256];
    const char *colon = strrchr(text, ':'), *start = text;
    size_t host_len = colon != NULL ? (size_t)(colon - text) : 0;
    if (host_len >= 2 && text[0] == '[' && colon[-1] == ']') {
        start++;
        host_len -= 2;
    }
    TG_ENSURE(colon != NULL && host_len > 0 && host_len < sizeof host && colon[1] != '\0', err,
              TG_INVALID_ARGUMENT, "\"%s\" is not host:port, as in 127.0.0.1:9464", text);
    memcpy(host, start, host_len);
    host[host_len] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    TG_ENSURE(rc == 0, err, TG_INVALID_ARGUMENT, "cannot listen on %s: %s", text, gai_strerror(rc));
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return TG_OK;
}

static bool start_listening(int fd, const struct sockaddr_storage *address, socklen_t len)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(fd, (const struct sockaddr *)address, len) == 0 && listen(fd, BACKLOG) == 0;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t len = sizeof address;
    TG_INVARIANT(getsockname(fd, &address.any, &len) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

enum tg_code http_listen(const char *text, int *out, uint16_t *port, bool *ipv6, struct tg_error *err)
{
    struct sockaddr_storage address = {0};
    socklen_t len = 0;
    TG_TRY(look_up(text, &address, &len, err));
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    TG_ENSURE(fd >= 0, err, TG_UNAVAILABLE, "cannot listen on %s: %s", text, strerror(errno));
    if (!start_listening(fd, &address, len)) {
        int why = errno;
        close(fd);
        return tg_fail(err, TG_UNAVAILABLE, "cannot listen on %s: %s", text, strerror(why));
    }
    *out = fd;
    *port = port_of(fd);
    *ipv6 = address.ss_family == AF_INET6;
    return TG_OK;
}
