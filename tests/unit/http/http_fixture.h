/* An HTTP server of ours in the test's process, and what is asked of it from outside: curl, openssl, raw
 * sockets. */
#ifndef TG_TESTS_HTTP_FIXTURE_H
#define TG_TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/http.h"

enum { HELD_MAX = 64 };

struct rig {
    struct http_server *server;
    struct rpc_tls tls;
    char dir[64];
    char text[128 * 1024]; /* of the last command or connection */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_request *held[HELD_MAX];
    size_t held_count;
    size_t largest; /* body that reached a handler */
    atomic_uint handled;
    atomic_uint released; /* by responses */
};

static inline void count_release(void *arg)
{
    atomic_fetch_add(&((struct rig *)arg)->released, 1);
}

/* ---- handlers ---- */

static inline void get_hello(struct http_request *request)
{
    struct rig *rig = http_request_context(request);
    atomic_fetch_add(&rig->handled, 1);
    http_reply(request, 200, "text/plain", "hello\n", 6, count_release, rig);
}

static inline void get_held(struct http_request *request)
{
    struct rig *rig = http_request_context(request);
    pthread_mutex_lock(&rig->lock);
    assert_true(rig->held_count < HELD_MAX);
    rig->held[rig->held_count++] = request;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

static inline void post_echo(struct http_request *request)
{
    struct rig *rig = http_request_context(request);
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    if (len > rig->largest)
        rig->largest = len;
    http_reply(request, 200, "application/octet-stream", body, len, NULL, NULL);
}

static inline void get_key(struct http_request *request)
{
    const char *number = http_request_argument(request, "number");
    http_reply_text(request, 200, "%s of %s, number %s",
                    http_request_is(request, HTTP_GET) ? "got" : "posted", http_request_segment(request, 0),
                    number != NULL ? number : "none");
}

static inline void get_peer(struct http_request *request)
{
    http_reply_text(request, 200, "cn=%s san=%d other=%d", http_request_peer(request),
                    http_request_peer_is(request, "sae-1.example"), http_request_peer_is(request, "sae-2"));
}

static const struct http_route rig_routes[] = {
    {HTTP_READ, "/hello", get_hello},
    {HTTP_GET, "/taken", get_hello},
    {HTTP_GET, "/held", get_held},
    {HTTP_POST | HTTP_PUT, "/echo", post_echo},
    {HTTP_GET | HTTP_POST, "/api/v1/keys/{}/status", get_key},
    {HTTP_GET, "/peer", get_peer},
    {.path = NULL},
};

/* ---- the rig ---- */

static inline struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    return rig;
}

/* `more`: what the options should say beside address, routes and TLS; may be NULL. */
static inline void rig_open(struct rig *rig, const struct http_options *more)
{
    struct http_options options = more != NULL ? *more : (struct http_options){0};
    struct tg_error err = {0};
    options.address = "127.0.0.1:0";
    options.routes = rig_routes;
    options.context = rig;
    options.tls = rig->tls.certificate != NULL ? &rig->tls : NULL;
    if (http_server_open(&rig->server, &options, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline void rig_serve(struct rig *rig, const struct http_options *more)
{
    struct tg_error err = {0};
    rig_open(rig, more);
    if (http_server_start(rig->server, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline struct http_request *rig_await_held(struct rig *rig, size_t count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->held_count < count)
        pthread_cond_wait(&rig->changed, &rig->lock);
    struct http_request *request = rig->held[count - 1];
    pthread_mutex_unlock(&rig->lock);
    return request;
}

static inline int rig_free(struct rig *rig)
{
    http_server_stop(rig->server, 0);
    pthread_mutex_destroy(&rig->lock);
    pthread_cond_destroy(&rig->changed);
    free(rig);
    return 0;
}

/* ---- outside ---- */

/* Runs a command with what it says in rig->text; its exit code. "%PORT%" and "%DIR%" are filled in. */
static inline int run(struct rig *rig, const char *command)
{
    char full[2048];
    (void)snprintf(full, sizeof full, "PORT=%u; DIR='%s'; C='curl -sS -m 60 --noproxy *'; set -f; %s",
                   http_server_port(rig->server), rig->dir, command);
    FILE *pipe = popen(full, "re");
    assert_non_null(pipe);
    size_t len = fread(rig->text, 1, sizeof rig->text - 1, pipe);
    rig->text[len] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void assert_says(struct rig *rig, const char *command, const char *expected)
{
    int code = run(rig, command);
    if (code != 0 || strcmp(rig->text, expected) != 0)
        fail_msg("%s ended with %d and said \"%s\" instead of \"%s\"", command, code, rig->text, expected);
}

static inline int dial(const struct rig *rig)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(rig->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void say(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* All that comes until the other side closes. */
static inline const char *hear_all(struct rig *rig, int fd)
{
    size_t len = 0;
    ssize_t got;
    while (len < sizeof rig->text - 1 && (got = recv(fd, rig->text + len, sizeof rig->text - 1 - len, 0)) > 0)
        len += (size_t)got;
    rig->text[len] = '\0';
    return rig->text;
}

#endif
