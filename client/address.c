#include "client/address.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES_MAX = 4 };

struct piece {
    const char *start;
    size_t len;
};

/* Cuts "a:b:[c:d]:e" at the colons outside of brackets. Returns how many pieces there are, 0 when a bracket
 * is not closed or not followed by a colon, PIECES_MAX + 1 when there are too many. Pieces keep their
 * brackets. */
static int cut(const char *text, struct piece pieces[PIECES_MAX])
{
    int count = 0;
    for (const char *at = text;; at++) {
        const char *start = at;
        if (*at == '[') {
            at = strchr(at, ']');
            if (at == NULL || (at[1] != ':' && at[1] != '\0'))
                return 0;
            at++;
        } else {
            at += strcspn(at, ":");
        }
        if (count == PIECES_MAX)
            return PIECES_MAX + 1;
        pieces[count++] = (struct piece){start, (size_t)(at - start)};
        if (*at == '\0')
            return count;
    }
}

static bool host_character(char c)
{
    return c > ' ' && c < 0x7f && c != '[' && c != ']' && c != '/' && c != '@';
}

static enum tg_code read_host(const char *text, struct piece piece, char out[ADDRESS_HOST_MAX + 1],
                              struct tg_error *err)
{
    bool brackets = piece.len >= 2 && piece.start[0] == '[';
    const char *start = piece.start + (brackets ? 1 : 0);
    size_t len = piece.len - (brackets ? 2 : 0);
    TG_ENSURE(len > 0, err, TG_INVALID_ARGUMENT, "\"%.80s\": the host is missing", text);
    TG_ENSURE(len <= ADDRESS_HOST_MAX, err, TG_INVALID_ARGUMENT,
              "\"%.80s…\": a host name has at most %u bytes", text, ADDRESS_HOST_MAX);
    for (size_t i = 0; i < len; i++)
        TG_ENSURE(host_character(start[i]), err, TG_INVALID_ARGUMENT, "\"%.80s\": not a host name or address",
                  text);
    memcpy(out, start, len);
    out[len] = '\0';
    return TG_OK;
}

static enum tg_code read_port(const char *text, struct piece piece, uint16_t least, uint16_t *out,
                              struct tg_error *err)
{
    unsigned long port = 0;
    bool digits = piece.len > 0 && piece.len <= 5;
    for (size_t i = 0; i < piece.len && digits; i++) {
        digits = piece.start[i] >= '0' && piece.start[i] <= '9';
        port = port * 10 + (unsigned long)(piece.start[i] - '0');
    }
    TG_ENSURE(digits && port >= least && port <= 65535, err, TG_INVALID_ARGUMENT,
              "\"%.80s\": a port is a number from %u to 65535", text, least);
    *out = (uint16_t)port;
    return TG_OK;
}

enum tg_code host_port_parse(const char *text, uint16_t default_port, struct host_port *out,
                             struct tg_error *err)
{
    struct piece pieces[PIECES_MAX];
    int count = cut(text, pieces);
    TG_ENSURE(count == 2 || (count == 1 && default_port != 0), err, TG_INVALID_ARGUMENT,
              "\"%.80s\": expected host%s; an IPv6 address needs brackets, as in [2001:db8::1]:443", text,
              default_port != 0 ? " or host:port" : ":port");
    TG_TRY(read_host(text, pieces[0], out->host, err));
    out->port = default_port;
    return count == 2 ? read_port(text, pieces[1], 1, &out->port, err) : TG_OK;
}

enum tg_code forward_parse(const char *text, struct forward_spec *out, struct tg_error *err)
{
    struct piece pieces[PIECES_MAX];
    int count = cut(text, pieces);
    TG_ENSURE(count == 3 || count == 4, err, TG_INVALID_ARGUMENT,
              "\"%.80s\": expected [bind:]port:host:hostport; IPv6 addresses need brackets", text);
    const struct piece *rest = pieces + (count - 3);
    if (count == 4)
        TG_TRY(read_host(text, pieces[0], out->local.host, err));
    else
        snprintf(out->local.host, sizeof out->local.host, "127.0.0.1");
    TG_TRY(read_port(text, rest[0], 0, &out->local.port, err));
    TG_TRY(read_host(text, rest[1], out->target.host, err));
    return read_port(text, rest[2], 1, &out->target.port, err);
}

void host_port_text(const struct host_port *address, char *out, size_t size)
{
    bool v6 = strchr(address->host, ':') != NULL;
    snprintf(out, size, "%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "", address->port);
}
