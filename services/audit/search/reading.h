/* The log over HTTP, read-only, for tools and consoles: checkpoint and tiles under the paths that C2SP
 * tlog-tiles gives them, and a search. Off unless configured; callers have a certificate, or a token. */
#ifndef TG_AUDIT_READING_H
#define TG_AUDIT_READING_H

#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/rpc/rpc.h"
#include "services/audit/log/log_writer.h"
#include "services/audit/search/query.h"

struct reading_config {
    char *listen;       /* host:port; NULL: off */
    struct rpc_tls tls; /* all three, or none: then plain, on loopback only, with a token */
    char *token_file;   /* one line, 16 to 256 bytes; NULL: none is asked for */
};
/* As RPC_PEER_ROWS. */
#define READING_ROWS(prefix, type_, member)                                                                  \
    READING_ROW_(prefix "listen", CONFIG_STRING, type_, member.listen,                                       \
                 "Serve the log over HTTP at this host:port, read-only; off unless given"),                  \
        READING_ROW_(prefix "certificate", CONFIG_PATH, type_, member.tls.certificate,                       \
                     "Certificate for that (PEM); without it plain HTTP, on loopback only"),                 \
        READING_ROW_(prefix "key", CONFIG_PATH, type_, member.tls.key, "Its private key (PEM, mode 0400)"),  \
        READING_ROW_(prefix "ca", CONFIG_PATH, type_, member.tls.ca,                                         \
                     "The CA that signs the callers' certificates (PEM)"),                                   \
        READING_ROW_(prefix "token_file", CONFIG_PATH, type_, member.token_file,                             \
                     "File with the line that callers send as Authorization: Bearer (mode 0400)")
#define READING_ROW_(key_, type__, type_, member, help_)                                                     \
    {                                                                                                        \
        .key = key_, .type = type__, .offset = offsetof(type_, member), .fallback = CONFIG_OPTIONAL,         \
        .help = help_                                                                                        \
    }

struct reading;

/* Binds. All is borrowed until reading_stop. INVALID_ARGUMENT: neither certificates nor a token, or a token
 * that would cross a network in the clear; otherwise as http_server_open. */
enum tg_code reading_open(struct reading **reading, const struct reading_config *config,
                          struct log_writer *log, struct query_engine *queries,
                          struct tg_error *err) TG_MUST_CHECK;
enum tg_code reading_start(struct reading *reading, struct tg_error *err) TG_MUST_CHECK;
uint16_t reading_port(const struct reading *reading);
/* Before the query engine is closed. NULL is fine. */
void reading_stop(struct reading *reading);
/* Stops and frees. NULL is fine. */
void reading_close(struct reading *reading);

#endif
