/* Answers, and the end of a request. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/http/internal.h"
#include "common/secret.h"

/* ---- responses ---- */

static void nothing_to_release(void *arg)
{
    (void)arg;
}

static struct MHD_Response *from_buffer(const void *bytes, size_t len, void (*release)(void *), void *arg)
{
    void *read_only = (void *)(uintptr_t)bytes; /* MHD writes to none of these */
    if (release == NULL)
        return MHD_create_response_from_buffer(len, read_only, MHD_RESPMEM_MUST_COPY);
    return MHD_create_response_from_buffer_with_free_callback_cls(len, read_only, release, arg);
}

static bool add_headers(struct MHD_Response *response, const char *type)
{
    return MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
           MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES;
}

struct MHD_Response *http_response(const char *type, const void *bytes, size_t len, void (*release)(void *),
                                   void *arg)
{
    struct MHD_Response *response = from_buffer(bytes, len, release, arg);
    if (response == NULL) {
        (release != NULL ? release : nothing_to_release)(arg);
        return NULL;
    }
    if (add_headers(response, type))
        return response;
    MHD_destroy_response(response); /* releases */
    return NULL;
}

/* ---- the request's life ---- */

void http_request_let_go(struct http_request *request)
{
    if (atomic_fetch_sub(&request->holders, 1) != 1)
        return;
    if (request->response != NULL)
        MHD_destroy_response(request->response);
    if (request->body != NULL)
        secret_wipe(request->body, request->body_room);
    free(request->body);
    free(request);
}

/* Under the lock. */
static void leave_pending(struct http_request *request)
{
    struct http_server *server = request->server;
    if (request->next != NULL)
        request->next->previous = request->previous;
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        server->pending = request->next;
    if (server->pending == NULL)
        pthread_cond_broadcast(&server->idle);
}

/* Under the lock. */
static void set_answer(struct http_request *request, unsigned status, struct MHD_Response *response)
{
    request->answered = true;
    request->status = status;
    request->response = response;
    leave_pending(request);
    if (request->suspended)
        MHD_resume_connection(request->connection);
}

void http_request_abandon(struct http_request *request)
{
    static const char text[] = "the service is shutting down\n";
    set_answer(request, MHD_HTTP_SERVICE_UNAVAILABLE,
               http_response("text/plain", text, sizeof text - 1, NULL, NULL));
}

void http_reply(struct http_request *request, unsigned status, const char *type, const void *bytes,
                size_t len, void (*release)(void *arg), void *arg)
{
    struct http_server *server = request->server;
    struct MHD_Response *response = http_response(type, bytes, len, release, arg);
    pthread_mutex_lock(&server->lock);
    bool late = request->answered;
    if (!late)
        set_answer(request, status, response);
    pthread_mutex_unlock(&server->lock);
    if (late && response != NULL)
        MHD_destroy_response(response);
    http_request_let_go(request);
    http_server_let_go(server);
}

void http_reply_text(struct http_request *request, unsigned status, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text - 1, fmt, args);
    va_end(args);
    size_t kept = len < 0 ? 0 : (size_t)len < sizeof text - 2 ? (size_t)len : sizeof text - 2;
    text[kept] = '\n';
    http_reply(request, status, "text/plain; charset=utf-8", text, kept + 1, NULL, NULL);
}
