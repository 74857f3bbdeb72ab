#include "common/rpc/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static bool port_is_valid(const char *text)
{
    char *end = NULL;
    unsigned long port = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && port >= 1 && port <= 65535;
}

static enum tg_code parse_tls(const char *text, const char *rest, struct rpc_address *out,
                              struct tg_error *err)
{
    const char *colon = strrchr(rest, ':');
    TG_ENSURE(colon != NULL && port_is_valid(colon + 1), err, TG_INVALID_ARGUMENT,
              "%s: needs a port from 1 to 65535, as in tls+tcp://localhost:7001", text);
    size_t len = (size_t)(colon - rest);
    if (len >= 2 && rest[0] == '[' && colon[-1] == ']') {
        rest++;
        len -= 2;
    }
    TG_ENSURE(len >= 1 && len <= RPC_HOST_MAX && strcspn(rest, "/?#@[] ") >= len, err, TG_INVALID_ARGUMENT,
              "%s: host name is missing or not valid", text);
    memcpy(out->host, rest, len);
    out->host[len] = '\0';
    return TG_OK;
}

enum tg_code rpc_address_parse(const char *text, struct rpc_address *out, struct tg_error *err)
{
    *out = (struct rpc_address){.transport = RPC_INPROC};
    TG_ENSURE(text != NULL, err, TG_INVALID_ARGUMENT, "an RPC address is missing");
    const char *rest = after(text, "tls+tcp://");
    if (rest != NULL) {
        out->transport = RPC_TLS;
        return parse_tls(text, rest, out, err);
    }
    rest = after(text, "ipc://");
    if (rest != NULL) {
        TG_ENSURE(rest[0] == '/' && strlen(rest) <= RPC_IPC_PATH_MAX, err, TG_INVALID_ARGUMENT,
                  "%s: must be ipc:// and an absolute path of at most %d bytes", text, RPC_IPC_PATH_MAX);
        out->transport = RPC_IPC;
        out->path = rest;
        return TG_OK;
    }
    rest = after(text, "inproc://");
    TG_ENSURE(rest != NULL && rest[0] != '\0', err, TG_INVALID_ARGUMENT,
              "%s: must start with tls+tcp:// or ipc://", text);
    return TG_OK;
}

enum tg_code rpc_address_check_bind(const struct rpc_address *address, struct tg_error *err)
{
    struct stat st;
    bool free_to_use =
        address->transport != RPC_IPC || lstat(address->path, &st) != 0 || S_ISSOCK(st.st_mode);
    TG_ENSURE(free_to_use, err, TG_INVALID_ARGUMENT,
              "ipc://%s: something that is not a socket lies there; choose another path or remove it",
              address->path);
    return TG_OK;
}

enum tg_code rpc_address_check_name(const struct rpc_address *address, struct tg_error *err)
{
    unsigned char binary[sizeof(struct in6_addr)];
    bool is_ip =
        inet_pton(AF_INET, address->host, binary) == 1 || inet_pton(AF_INET6, address->host, binary) == 1;
    TG_ENSURE(
        !is_ip, err, TG_INVALID_ARGUMENT,
        "tls+tcp://%s: an IP address cannot be checked against the server's certificate; use its DNS name",
        address->host);
    return TG_OK;
}
