#include "services/radius-bridge/connection.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <radcli/radcli.h>
#include <radcli/version.h>

#include "common/file.h"
#include "common/secret.h"
#include "services/radius-bridge/attributes.h"
#include "services/radius-bridge/radcli_words.h"

/* Before 1.5.0 rc_destroy leaves the TLS session behind. Not in radcli.h, but in the library
 * (cmake/deps.cmake). */
void rc_deinit_tls(rc_handle *handle);

enum { UDP_TRIES = 3, STACK_USED = 32 * 1024 };

struct connection {
    rc_handle *handle;
    SERVER *server; /* the handle's */
    int fd;         /* -1 over UDP */
    bool over_ipv6;
    struct in6_addr own; /* NAS-IPv6-Address */
};

enum tg_code connection_prepare(struct tg_error *err)
{
    TG_ENSURE(getservbyname("radius", "udp") != NULL, err, TG_FAILED_PRECONDITION,
              "/etc/services does not know \"radius\", which radcli looks up: install the package netbase");
    /* The first handle seeds radcli's packet ids, without a lock. */
    rc_handle *first = rc_new();
    TG_ENSURE(first != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for radcli");
    rc_destroy(first);
    return TG_OK;
}

/* radcli takes the first address too, but does not look at its family when it makes the socket. */
static enum tg_code first_address(const struct radius_server_config *server, struct sockaddr_storage *address,
                                  struct tg_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(server->host, "radius", &hints, &found);
    TG_ENSURE(rc == 0, err, TG_UNAVAILABLE, "%s: cannot resolve %.100s: %s", server->name, server->host,
              gai_strerror(rc));
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return TG_OK;
}

static bool option(rc_handle *handle, const char *name, const char *value)
{
    return value == NULL || rc_add_config(handle, name, value, "radius-bridge", 0) == 0;
}

static bool set_options(rc_handle *handle, const struct radius_server_config *server, bool over_ipv6)
{
    char authority[300];
    bool radsec = server->transport == RADIUS_RADSEC;
    snprintf(authority, sizeof authority, strchr(server->host, ':') != NULL ? "[%s]:%d" : "%s:%d",
             server->host, (int)server->port);
    return option(handle, "serv-type", radsec ? "tls" : "udp") && option(handle, "authserver", authority) &&
           option(handle, "bindaddr", over_ipv6 ? "::" : "*") && option(handle, "radius_timeout", "10") &&
           option(handle, "tls-ca-file", radsec ? server->ca : NULL) &&
           option(handle, "tls-cert-file", radsec ? server->certificate : NULL) &&
           option(handle, "tls-key-file", radsec ? server->key : NULL);
}

/* The shared secret stands in the handle, where radcli looks for it first: "radsec" over TLS (RFC 6614 2.3),
 * else what the file says. It cannot be an option: over TLS radcli would take it for a pre-shared key. */
static enum tg_code set_secret(struct connection *connection, const struct radius_server_config *server,
                               struct tg_error *err)
{
    struct secret *secret TG_CLEANUP(secret_cleanup) = NULL;
    if (server->transport == RADIUS_RADSEC)
        secret = secret_copy("radsec", 6);
    else
        TG_TRY(file_read_line_secret(server->secret_file, &secret, err));
    TG_ENSURE(secret != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a secret");
    TG_ENSURE(secret_len(secret) < MAX_SECRET_LENGTH, err, TG_INVALID_ARGUMENT,
              "%s: radcli takes secrets of at most %d bytes", server->secret_file, MAX_SECRET_LENGTH - 1);
    connection->server->secret[0] = strndup((const char *)secret_view(secret), secret_len(secret));
    TG_ENSURE(connection->server->secret[0] != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a secret");
    return TG_OK;
}

static enum tg_code set_up(struct connection *connection, const struct radius_server_config *server,
                           struct tg_error *err)
{
    struct sockaddr_storage address = {0};
    TG_TRY(first_address(server, &address, err));
    connection->over_ipv6 = address.ss_family == AF_INET6;
    radcli_words_clear();
    rc_handle *handle = connection->handle = rc_config_init(connection->handle); /* frees it when it fails */
    TG_ENSURE(handle != NULL && set_options(handle, server, connection->over_ipv6) &&
                  attributes_define(handle),
              err, TG_INTERNAL, "%s: radcli refuses its configuration: %s", server->name,
              radcli_words("no reason given"));
    TG_ENSURE(rc_apply_config(handle) == 0, err, TG_UNAVAILABLE, "%s: %s", server->name,
              radcli_words("cannot connect"));
    connection->fd = rc_tls_fd(handle);
    connection->server = rc_conf_srv(handle, "authserver");
    TG_TRY(set_secret(connection, server, err));
    struct sockaddr_storage own = {0};
    if (connection->over_ipv6 &&
        rc_get_srcaddr((struct sockaddr *)&own, (const struct sockaddr *)&address) == 0)
        connection->own = ((struct sockaddr_in6 *)&own)->sin6_addr;
    return TG_OK;
}

enum tg_code connection_open(struct connection **out, const struct radius_server_config *server,
                             struct tg_error *err)
{
    struct connection *connection = calloc(1, sizeof *connection);
    TG_ENSURE(connection != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a connection");
    connection->fd = -1;
    connection->handle = rc_new();
    enum tg_code code = connection->handle == NULL
                            ? tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for radcli")
                            : set_up(connection, server, err);
    if (code != TG_OK) {
        connection_close(connection);
        return code;
    }
    *out = connection;
    return TG_OK;
}

void connection_close(struct connection *connection)
{
    if (connection == NULL)
        return;
    if (connection->server != NULL && connection->server->secret[0] != NULL)
        secret_wipe(connection->server->secret[0], strlen(connection->server->secret[0]));
    if (RADCLI_VERSION_NUMBER < 0x010500 && connection->fd >= 0)
        rc_deinit_tls(connection->handle);
    if (connection->handle != NULL)
        rc_destroy(connection->handle);
    free(connection);
}

int connection_fd(const struct connection *connection)
{
    return connection->fd;
}

bool connection_fd_is_up(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLRDHUP};
    return fd < 0 || poll(&watched, 1, 0) == 0;
}

void connection_fd_abort(int fd)
{
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

/* radcli leaves the packet, in which a RadSec password is as good as readable, on its stack. */
__attribute__((noinline)) static void wipe_stack(void)
{
    char used[STACK_USED];
    secret_wipe(used, sizeof used);
}

static enum tg_code outcome_of(int status, const struct connection *connection, struct radius_answer *answer,
                               struct tg_error *err)
{
    const char *words = radcli_words("no reason given");
    TG_ENSURE(!radcli_found_forged_reply(), err, TG_DATA_LOSS,
              "the answer is forged, or the shared secret is not the server's: %s", words);
    switch (status) {
    case OK_RC:
        answer->outcome = TG__LOGIN_RESPONSE__OUTCOME__ACCEPT;
        return TG_OK;
    case REJECT_RC:
        answer->outcome = TG__LOGIN_RESPONSE__OUTCOME__REJECT;
        return TG_OK;
    case CHALLENGE_RC:
        answer->outcome = TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE;
        return TG_OK;
    case TIMEOUT_RC:
        return tg_fail(err, TG_DEADLINE_EXCEEDED, "no answer in time");
    case BADRESP_RC:
    case BADRESPID_RC:
        return tg_fail(err, TG_DATA_LOSS, "not a valid answer: %s", words);
    default:
        return tg_fail(
            err, connection->fd < 0 || !connection_fd_is_up(connection->fd) ? TG_UNAVAILABLE : TG_DATA_LOSS,
            "%s", words);
    }
}

enum tg_code connection_ask(struct connection *connection, const Tg__LoginRequest *request,
                            uint32_t timeout_ms, struct radius_answer *answer, struct tg_error *err)
{
    SEND_DATA data = {0};
    SERVER *server = connection->server;
    int tries = connection->fd < 0 ? UDP_TRIES : 1; /* over TLS nothing is sent twice (RFC 6613 2.6.1) */
    int timeout_s = (int)(timeout_ms / 1000 / (unsigned)tries) + 1;
    memset(answer, 0, sizeof *answer);
    TG_ENSURE(attributes_put(connection->handle, request, connection->over_ipv6 ? &connection->own : NULL,
                             &data.send_pairs),
              err, TG_RESOURCE_EXHAUSTED, "cannot build the request");
    radcli_words_clear();
    rc_buildreq(connection->handle, &data, PW_ACCESS_REQUEST, server->name[0], server->port[0],
                server->secret[0], timeout_s, tries - 1);
    int status = rc_send_server(connection->handle, &data, NULL, AUTH);
    wipe_stack();
    attributes_wipe(data.send_pairs);
    rc_avpair_free(data.send_pairs);
    enum tg_code code = outcome_of(status, connection, answer, err);
    if (code == TG_OK)
        attributes_get(data.receive_pairs, answer);
    rc_avpair_free(data.receive_pairs);
    return code;
}
