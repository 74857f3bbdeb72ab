#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/http/internal.h"
#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"

/* Room for headers and what is read of a body at once, for each connection. */
enum { CONNECTION_MEMORY = 16 * 1024 };

static const char priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

/* ---- opening ---- */

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value != 0 ? value : fallback;
}

static void set_bounds(struct http_server *server, const struct http_options *options)
{
    server->routes = options->routes;
    server->context = options->context;
    server->body_max = options->body_max != 0 ? options->body_max : HTTP_BODY_MAX;
    server->connections_max = or_default(options->connections_max, HTTP_CONNECTIONS_MAX);
    server->per_address_max = or_default(options->per_address_max, HTTP_CONNECTIONS_PER_ADDRESS_MAX);
    server->silence_max_s = or_default(options->silence_max_s, HTTP_SILENCE_MAX_S);
    server->tls = options->tls != NULL;
}

enum tg_code http_server_open(struct http_server **out, const struct http_options *options,
                              struct tg_error *err)
{
    struct http_server *server = calloc(1, sizeof *server);
    TG_ENSURE(server != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the HTTP server");
    atomic_init(&server->holders, 1);
    server->fd = -1;
    pthread_mutex_init(&server->lock, NULL);
    monotonic_cond_init(&server->idle);
    set_bounds(server, options);
    enum tg_code code = TG_OK;
    if (server->tls)
        code = http_credentials_read(options->tls, &server->credentials, err);
    if (code == TG_OK)
        code = http_listen(options->address, &server->fd, &server->port, &server->ipv6, err);
    if (code == TG_OK)
        *out = server;
    else
        http_server_let_go(server);
    return code;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

enum tg_code http_server_reload(struct http_server *server, const struct rpc_tls *tls, struct tg_error *err)
{
    struct http_credentials *fresh = NULL;
    TG_ENSURE(server->tls, err, TG_FAILED_PRECONDITION,
              "this HTTP server has no TLS: that needs a new start");
    TG_TRY(http_credentials_read(tls, &fresh, err));
    pthread_mutex_lock(&server->lock);
    struct http_credentials *old = server->credentials;
    server->credentials = fresh;
    pthread_mutex_unlock(&server->lock);
    http_credentials_let_go(old);
    return TG_OK;
}

/* ---- serving ---- */

/* Before the handshake. Without credentials of ours a session has none at all, and fails. */
static void on_connection(void *arg, struct MHD_Connection *connection, void **held,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = arg;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_credentials_let_go(*held);
        return;
    }
    gnutls_session_t session = http_session(connection);
    if (session == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    struct http_credentials *credentials = server->credentials;
    http_credentials_hold(credentials);
    pthread_mutex_unlock(&server->lock);
    *held = credentials;
    if (!http_credentials_use(credentials, session))
        LOG(LOG_ERROR, NULL, "http.unusable", LOG_TEXT("error", "TLS credentials cannot be set"));
}

static void on_log(void *arg, const char *fmt, va_list args) TG_PRINTF(2, 0);
static void on_log(void *arg, const char *fmt, va_list args)
{
    char text[256];
    (void)arg;
    vsnprintf(text, sizeof text, fmt, args);
    LOG(LOG_DEBUG, NULL, "http.trouble", LOG_TEXT("error", text));
}

enum tg_code http_server_start(struct http_server *server, struct tg_error *err)
{
    struct MHD_OptionItem more[3] = {{MHD_OPTION_END, 0, NULL}};
    if (server->tls) {
        more[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities};
        more[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)http_no_certificate};
        more[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (server->tls ? MHD_USE_TLS : 0) | (server->ipv6 ? MHD_USE_IPv6 : 0);
    /* The logger first: it hears of what is wrong with the options after it. */
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, server->fd, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT,
        server->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT, server->per_address_max,
        MHD_OPTION_CONNECTION_TIMEOUT, server->silence_max_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    TG_ENSURE(server->daemon != NULL, err, TG_INTERNAL, "the HTTP server on port %u cannot be started",
              server->port);
    server->fd = -1;
    return TG_OK;
}

/* ---- stopping ---- */

void http_server_let_go(struct http_server *server)
{
    if (atomic_fetch_sub(&server->holders, 1) != 1)
        return;
    if (server->fd >= 0)
        close(server->fd);
    http_credentials_let_go(server->credentials);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* True: nothing was left. From here on no handler is called. */
static bool end_pending(struct http_server *server, uint64_t deadline_ms)
{
    pthread_mutex_lock(&server->lock);
    while (server->pending != NULL && monotonic_wait(&server->idle, &server->lock, deadline_ms))
        ;
    bool all = server->pending == NULL;
    server->stopping = true;
    while (server->pending != NULL)
        http_request_abandon(server->pending);
    pthread_mutex_unlock(&server->lock);
    return all;
}

bool http_server_stop(struct http_server *server, unsigned timeout_ms)
{
    bool all = true;
    if (server == NULL)
        return true;
    if (server->daemon != NULL) {
        MHD_socket listening = MHD_quiesce_daemon(server->daemon);
        all = end_pending(server, clock_now_ms() + timeout_ms);
        MHD_stop_daemon(server->daemon);
        if (listening != MHD_INVALID_SOCKET)
            close(listening);
    }
    http_server_let_go(server);
    return all;
}
