/* One request from its headers to its handler, on MHD's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/internal.h"

/* ---- refusing before the body is read: MHD then closes the connection after the answer ---- */

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, unsigned allowed)
{
    char methods[64], text[64];
    int len = snprintf(text, sizeof text, "%u\n", status);
    struct MHD_Response *response = http_response("text/plain", text, (size_t)len, NULL, NULL);
    if (response == NULL)
        return MHD_NO;
    http_method_list(allowed, methods);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, methods);
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- headers ---- */

/* Of Content-Length; 0 when it is absent. MHD has refused what is no number. */
static uint64_t announced_length(struct MHD_Connection *connection)
{
    const char *text =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (text == NULL)
        return 0;
    errno = 0;
    unsigned long long len = strtoull(text, NULL, 10);
    return errno == 0 ? len : UINT64_MAX;
}

static unsigned check(struct http_request *request, const char *url, const char *method, unsigned *allowed)
{
    if (strlen(url) > HTTP_PATH_MAX)
        return MHD_HTTP_URI_TOO_LONG;
    snprintf(request->path, sizeof request->path, "%s", url);
    request->method = http_method_find(method);
    unsigned status = http_route_find(request, allowed);
    if (status != MHD_HTTP_OK)
        return status;
    if (announced_length(request->connection) > request->server->body_max)
        return MHD_HTTP_CONTENT_TOO_LARGE;
    return MHD_HTTP_OK;
}

static enum MHD_Result begin(struct http_server *server, struct MHD_Connection *connection, const char *url,
                             const char *method, void **out)
{
    struct http_request *request = calloc(1, sizeof *request);
    unsigned allowed = 0;
    if (request == NULL)
        return MHD_NO;
    atomic_init(&request->holders, 1);
    request->server = server;
    request->connection = connection;
    *out = request; /* http_on_completed lets go of it */
    unsigned status = check(request, url, method, &allowed);
    if (status != MHD_HTTP_OK)
        return refuse(connection, status, allowed);
    http_session_peer(http_session(connection), request->peer);
    return MHD_YES;
}

/* ---- body ---- */

/* A body of unannounced length (chunked) that grows beyond the bound ends its connection. */
static enum MHD_Result take_body(struct http_request *request, const char *bytes, size_t *len)
{
    size_t max = request->server->body_max;
    if (*len > max - request->body_len)
        return MHD_NO;
    if (request->body == NULL) {
        uint64_t announced = announced_length(request->connection);
        size_t room = announced > 0 && announced < max ? (size_t)announced : max;
        request->body_room = room + 1;
        request->body = calloc(request->body_room, 1);
        if (request->body == NULL)
            return MHD_NO;
    }
    if (*len >= request->body_room - request->body_len)
        return MHD_NO;
    memcpy(request->body + request->body_len, bytes, *len);
    request->body_len += *len;
    *len = 0;
    return MHD_YES;
}

/* ---- handler and answer ---- */

/* False: the server is stopping, and this request has been answered so. */
static bool enter_pending(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    request->handled = true;
    request->next = server->pending;
    if (server->pending != NULL)
        server->pending->previous = request;
    server->pending = request;
    bool stopping = server->stopping;
    if (stopping)
        http_request_abandon(request);
    pthread_mutex_unlock(&server->lock);
    return !stopping;
}

static void handle(struct http_request *request)
{
    if (!enter_pending(request))
        return;
    atomic_fetch_add(&request->holders, 1);
    atomic_fetch_add(&request->server->holders, 1);
    request->route->handle(request);
}

static enum MHD_Result answer_or_wait(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    bool answered = request->answered;
    if (!answered && server->stopping) {
        http_request_abandon(request);
        answered = true;
    }
    if (!answered) {
        MHD_suspend_connection(request->connection);
        request->suspended = true;
    }
    pthread_mutex_unlock(&server->lock);
    if (!answered)
        return MHD_YES;
    if (request->response == NULL)
        return MHD_NO;
    return MHD_queue_response(request->connection, request->status, request->response);
}

enum MHD_Result http_on_access(void *server, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_len, void **out)
{
    struct http_request *request = *out;
    (void)version;
    if (request == NULL)
        return begin(server, connection, url, method, out);
    if (*upload_len > 0)
        return take_body(request, upload, upload_len);
    if (!request->handled)
        handle(request);
    return answer_or_wait(request);
}

void http_on_completed(void *server, struct MHD_Connection *connection, void **out,
                       enum MHD_RequestTerminationCode why)
{
    struct http_request *request = *out;
    (void)server;
    (void)connection;
    (void)why;
    *out = NULL;
    if (request != NULL)
        http_request_let_go(request);
}

/* ---- what handlers ask ---- */

void *http_request_context(const struct http_request *request)
{
    return request->server->context;
}

const char *http_request_segment(const struct http_request *request, unsigned i)
{
    TG_INVARIANT(i < HTTP_SEGMENTS_MAX && request->segments[i] != NULL);
    return request->segments[i];
}

const char *http_request_body(const struct http_request *request, size_t *len)
{
    *len = request->body_len;
    return request->body != NULL ? request->body : "";
}

const char *http_request_peer(const struct http_request *request)
{
    return request->peer;
}

bool http_request_is(const struct http_request *request, enum http_method method)
{
    return request->method == method;
}

const char *http_request_argument(const struct http_request *request, const char *name)
{
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES)
        return NULL;
    return value != NULL ? value : "";
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}
