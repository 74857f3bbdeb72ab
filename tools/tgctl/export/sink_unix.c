/* A local syslog daemon. Datagrams, as /dev/log usually is; a stream otherwise, each message ended by a line
 * feed (RFC 6587 3.4.2). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/tgctl/export/sink.h"
#include "tools/tgctl/export/syslog.h"

struct unix_sink {
    struct sink base;
    int fd;
    bool stream;
    char host[256];
};

static struct unix_sink *of(struct sink *sink)
{
    return (struct unix_sink *)sink;
}

static bool send_all(const struct unix_sink *local, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(local->fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static enum tg_code put(struct sink *sink, const char *line, struct tg_error *err)
{
    const struct unix_sink *local = of(sink);
    char *message = NULL;
    size_t len = 0;
    TG_TRY(syslog_message(line, local->host, &message, &len, err));
    bool sent = send_all(local, message, len) && (!local->stream || send_all(local, "\n", 1));
    int why = errno;
    free(message);
    TG_ENSURE(sent, err, TG_UNAVAILABLE, "the syslog socket takes nothing: %s", strerror(why));
    return TG_OK;
}

/* What the socket has taken is the daemon's. */
static enum tg_code flush(struct sink *sink, bool *settled, struct tg_error *err)
{
    (void)sink;
    (void)err;
    *settled = true;
    return TG_OK;
}

static enum tg_code finish(struct sink *sink, struct tg_error *err)
{
    (void)sink;
    (void)err;
    return TG_OK;
}

static uint64_t mark(const struct sink *sink)
{
    (void)sink;
    return SINK_NO_MARK;
}

static void close_socket(struct sink *sink)
{
    if (of(sink)->fd >= 0)
        close(of(sink)->fd);
    free(sink);
}

static const struct sink_ops unix_ops = {put, flush, finish, mark, close_socket};

static bool try_type(struct unix_sink *local, int type, const struct sockaddr_un *address)
{
    local->fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (local->fd >= 0 && connect(local->fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return true;
    int why = errno;
    if (local->fd >= 0)
        close(local->fd);
    local->fd = -1;
    errno = why;
    return false;
}

enum tg_code sink_unix_open(const struct sink_options *options, struct sink **sink, struct tg_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = options->to + strlen("unix:");
    TG_ENSURE(path[0] != '\0' && strlen(path) < sizeof address.sun_path, err, TG_INVALID_ARGUMENT,
              "unix: wants the path of a socket, up to %zu bytes", sizeof address.sun_path - 1);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    struct unix_sink *local = calloc(1, sizeof *local);
    TG_ENSURE(local != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    *local = (struct unix_sink){.base = {&unix_ops}, .fd = -1};
    if (gethostname(local->host, sizeof local->host - 1) != 0 || local->host[0] == '\0')
        strcpy(local->host, "-");
    if (!try_type(local, SOCK_DGRAM, &address)) {
        local->stream = errno == EPROTOTYPE && try_type(local, SOCK_STREAM, &address);
        if (!local->stream) {
            free(local);
            return tg_fail(err, TG_UNAVAILABLE, "%s: %s", path, strerror(errno));
        }
    }
    *sink = &local->base;
    return TG_OK;
}
