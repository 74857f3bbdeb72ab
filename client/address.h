/* Hosts and ports as users write them: "host:port", "[2001:db8::1]:port", "[bind:]port:host:hostport". */
#ifndef TG_CLIENT_ADDRESS_H
#define TG_CLIENT_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { ADDRESS_HOST_MAX = 253, GATEWAY_DEFAULT_PORT = 8443 };

struct host_port {
    char host[ADDRESS_HOST_MAX + 1]; /* without brackets */
    uint16_t port;
};

struct forward_spec {
    struct host_port local; /* host: "127.0.0.1" unless given, "*": all addresses; port 0: a free one */
    struct host_port target;
};

/* "host:port", or "host" alone when default_port is not 0. INVALID_ARGUMENT says what is wrong with it. */
enum tg_code host_port_parse(const char *text, uint16_t default_port, struct host_port *out,
                             struct tg_error *err) TG_MUST_CHECK;
/* What stands after -L. */
enum tg_code forward_parse(const char *text, struct forward_spec *out, struct tg_error *err) TG_MUST_CHECK;

/* "host:port", with brackets where an IPv6 address needs them. size: HOST_PORT_TEXT_LEN is always enough. */
enum { HOST_PORT_TEXT_LEN = ADDRESS_HOST_MAX + 10 };
void host_port_text(const struct host_port *address, char *out, size_t size);

#endif
