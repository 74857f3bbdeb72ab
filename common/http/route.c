/* From method and path to a row of the table. */
#include <stdio.h>
#include <string.h>

#include "common/http/internal.h"

static const struct {
    const char *name;
    unsigned method;
} methods[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}, {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE},
};

unsigned http_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].method;
    return 0;
}

void http_method_list(unsigned allowed, char out[64])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if ((allowed & methods[i].method) != 0)
            len += (size_t)snprintf(out + len, 64 - len, "%s%s", len > 0 ? ", " : "", methods[i].name);
}

/* Up to HTTP_SEGMENTS_MAX places in `path` that the pattern's braces stand for. */
static bool matches(const char *pattern, const char *path, size_t starts[HTTP_SEGMENTS_MAX], unsigned *count)
{
    const char *at = path;
    *count = 0;
    for (; *pattern != '\0'; pattern++) {
        if (strncmp(pattern, "{}", 2) != 0) {
            if (*at++ != *pattern)
                return false;
            continue;
        }
        pattern++;
        size_t len = strcspn(at, "/");
        TG_INVARIANT(*count < HTTP_SEGMENTS_MAX);
        if (len == 0)
            return false;
        starts[(*count)++] = (size_t)(at - path);
        at += len;
    }
    return *at == '\0';
}

/* Each segment becomes a string of its own. */
static void cut(struct http_request *request, const size_t starts[HTTP_SEGMENTS_MAX], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        request->segments[i] = request->path + starts[i];
        request->path[starts[i] + strcspn(request->segments[i], "/")] = '\0';
    }
}

unsigned http_route_find(struct http_request *request, unsigned *allowed)
{
    *allowed = 0;
    for (const struct http_route *row = request->server->routes; row->path != NULL; row++) {
        size_t starts[HTTP_SEGMENTS_MAX] = {0};
        unsigned count = 0;
        if (!matches(row->path, request->path, starts, &count))
            continue;
        *allowed |= row->methods;
        if ((row->methods & request->method) == 0)
            continue;
        cut(request, starts, count);
        request->route = row;
        return MHD_HTTP_OK;
    }
    return *allowed != 0 ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
}
