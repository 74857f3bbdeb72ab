/* Addresses of listeners and endpoints: tls+tcp://host:port, ipc:///path, inproc://name, and nothing else. */
#ifndef TG_COMMON_RPC_ADDRESS_H
#define TG_COMMON_RPC_ADDRESS_H

#include "common/error.h"

enum rpc_transport { RPC_TLS, RPC_IPC, RPC_INPROC };
enum rpc_address_limits { RPC_HOST_MAX = 253, RPC_IPC_PATH_MAX = 107 };

struct rpc_address {
    enum rpc_transport transport;
    char host[RPC_HOST_MAX + 1]; /* RPC_TLS: without the brackets of IPv6; RPC_IPC: empty */
    const char *path;            /* RPC_IPC: borrowed from the text */
};

/* INVALID_ARGUMENT: the text names the address and says what is wrong with it. Any thread. */
enum tg_code rpc_address_parse(const char *text, struct rpc_address *out, struct tg_error *err) TG_MUST_CHECK;

/* nng removes a stale socket file before it binds, and would remove any other file as well: refuses a path
 * where something else than a socket lies. */
enum tg_code rpc_address_check_bind(const struct rpc_address *address, struct tg_error *err) TG_MUST_CHECK;

/* The name to find in a server's certificate. mbedTLS 2.28 compares DNS names only, so an IP address is
 * refused here rather than left unchecked. */
enum tg_code rpc_address_check_name(const struct rpc_address *address, struct tg_error *err) TG_MUST_CHECK;

#endif
