/* The key centre as a KME (ETSI GS QKD 014 V1.1.1): pairs of SAEs draw keys over HTTPS. Who asks is told by
 * the certificate; keys are made for a pair when its master asks, and gone when its slave has had them. */
#ifndef TG_KEY_STORE_ETSI_SERVER_H
#define TG_KEY_STORE_ETSI_SERVER_H

#include "common/config.h"
#include "common/http/http.h"
#include "common/rpc/rpc.h"

struct key_store;
struct etsi_server;

enum etsi_limits {
    ETSI_SAES_MAX = 64,
    ETSI_KEYS_PER_REQUEST = 128,
    ETSI_KEYS_PER_PAIR = 10000, /* that the slave has not fetched */
    ETSI_KEY_BITS = 256,
    ETSI_KEY_BITS_MIN = 64,
    ETSI_CALL_MS = 10000 /* for transaction and audit */
};

struct etsi_config {
    char *listen; /* host:port; NULL: off */
    struct rpc_tls tls;
    char *kme_id;
    struct config_list saes; /* char * */
    int64_t key_lifetime;    /* ms */
};

/* `etsi014: {listen, certificate, key, ca, kme_id, saes: [..], key_lifetime}`, which may be absent. */
#define ETSI_ROWS(prefix, type_, member)                                                                     \
    {.key = prefix "listen",                                                                                 \
     .type = CONFIG_STRING,                                                                                  \
     .offset = offsetof(type_, member.listen),                                                               \
     .fallback = CONFIG_OPTIONAL,                                                                            \
     .help = "Serve ETSI GS QKD 014 on this host:port; absent: not at all"},                                 \
        ETSI_PATH_ROW_(prefix "certificate", type_, member.tls.certificate, "Our certificate there (PEM)"),  \
        ETSI_PATH_ROW_(prefix "key", type_, member.tls.key, "Its private key (PEM, mode 0400)"),             \
        ETSI_PATH_ROW_(prefix "ca", type_, member.tls.ca, "The CA that signs the SAEs' certificates (PEM)"), \
        {.key = prefix "kme_id",                                                                             \
         .type = CONFIG_STRING,                                                                              \
         .offset = offsetof(type_, member.kme_id),                                                           \
         .fallback = CONFIG_OPTIONAL,                                                                        \
         .help = "What this key centre calls itself as a KME"},                                              \
        {.key = prefix "saes",                                                                               \
         .type = CONFIG_STRINGS,                                                                             \
         .offset = offsetof(type_, member.saes),                                                             \
         .fallback = CONFIG_OPTIONAL,                                                                        \
         .max = ETSI_SAES_MAX,                                                                               \
         .help = "Who may draw keys: SAE ids, as common name or DNS name in their certificates"},            \
    {                                                                                                        \
        .key = prefix "key_lifetime", .type = CONFIG_DURATION,                                               \
        .offset = offsetof(type_, member.key_lifetime), .fallback = "1d", .min = 1000,                       \
        .max = 365LL * 24 * 3600 * 1000, .help = "How long a key waits for its slave"                        \
    }
#define ETSI_PATH_ROW_(key_, type_, member, help_)                                                           \
    {                                                                                                        \
        .key = key_, .type = CONFIG_PATH, .offset = offsetof(type_, member), .fallback = CONFIG_OPTIONAL,    \
        .help = help_                                                                                        \
    }

/* Reads the TLS files and binds. INVALID_ARGUMENT (incomplete configuration), and as http_server_open. `ks`
 * and `config` are borrowed until the close. */
enum tg_code etsi_server_open(struct etsi_server **server, struct key_store *ks,
                              const struct etsi_config *config, struct tg_error *err) TG_MUST_CHECK;
enum tg_code etsi_server_start(struct etsi_server *server, struct tg_error *err) TG_MUST_CHECK;
/* Certificate, key and CA of `config` for connections from now on; the rest needs a new start. */
enum tg_code etsi_server_reload(struct etsi_server *server, const struct etsi_config *config,
                                struct tg_error *err) TG_MUST_CHECK;
struct etsi_counts {      /* since the start */
    uint64_t made, taken; /* keys */
    uint64_t refused;     /* requests */
};
void etsi_server_counts(const struct etsi_server *server, struct etsi_counts *out); /* any thread */
uint16_t etsi_server_port(const struct etsi_server *server);
/* Takes no more requests; answers what it can. NULL is fine, here and below. */
void etsi_server_stop(struct etsi_server *server);
/* After the writer and the audit client have ended: no request is under way any more. */
void etsi_server_close(struct etsi_server *server);

#endif
