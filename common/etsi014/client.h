/* An SAE's side of ETSI GS QKD 014 V1.1.1: keys from a key management entity (KME) over mutual TLS, on one
 * connection that is kept.
 *
 * Calls block until their deadline and may come from any thread; they wait for each other. What is asked
 * stays within what the KME's status allows: more keys than it gives at once are several requests, and all
 * come or none. Only 503 is tried again, with growing pauses, at most 4 times in all.
 *
 * Codes, everywhere: RESOURCE_EXHAUSTED (the KME is dry or in trouble, 503; or our locked memory is full),
 * UNAVAILABLE (it cannot be reached, or fails TLS), DEADLINE_EXCEEDED, UNAUTHENTICATED (401: it does not know
 * this SAE), NOT_FOUND (a key id that it has not), FAILED_PRECONDITION (it refuses, or its status excludes
 * what is asked), DATA_LOSS (its answer is not what the standard says), CANCELLED (interrupted). Texts start
 * with "KME <url>". */
#ifndef TG_COMMON_ETSI014_CLIENT_H
#define TG_COMMON_ETSI014_CLIENT_H

#include <stdint.h>

#include "common/config.h"
#include "common/etsi014/message.h"

/* One KME to draw from, as a configuration names it. */
struct etsi014_peer {
    char *url; /* https://host:port; NULL: none */
    char *certificate, *key, *ca;
    int method; /* enum etsi014_method */
    int64_t timeout_ms;
};
enum etsi014_method { ETSI014_POST, ETSI014_GET };
extern const char *const etsi014_method_names[]; /* post, get, NULL */

/* Rows for a KME, as a nested mapping that may be absent:
 *     ETSI014_PEER_ROWS("kme.", struct charger_config, kme), */
#define ETSI014_PEER_ROWS(prefix, type_, member)                                                             \
    {.key = prefix "url",                                                                                    \
     .type = CONFIG_STRING,                                                                                  \
     .offset = offsetof(type_, member.url),                                                                  \
     .fallback = CONFIG_OPTIONAL,                                                                            \
     .max = 256,                                                                                             \
     .help = "An ETSI GS QKD 014 KME: https://host:port"},                                                   \
        ETSI014_PEER_PATH_(prefix "certificate", type_, member.certificate, "Our certificate there (PEM)"),  \
        ETSI014_PEER_PATH_(prefix "key", type_, member.key, "Its private key (PEM, mode 0400)"),             \
        ETSI014_PEER_PATH_(prefix "ca", type_, member.ca, "The CA that signs the KME's certificate (PEM)"),  \
        {.key = prefix "method",                                                                             \
         .type = CONFIG_CHOICE,                                                                              \
         .offset = offsetof(type_, member.method),                                                           \
         .fallback = "post",                                                                                 \
         .choices = etsi014_method_names,                                                                    \
         .help = "How keys are asked for: by POST, or by GET where a KME knows only that"},                  \
    {                                                                                                        \
        .key = prefix "timeout", .type = CONFIG_DURATION, .offset = offsetof(type_, member.timeout_ms),      \
        .fallback = "10s", .min = 100, .max = 120000, .help = "How long a KME may take for what is asked"    \
    }
#define ETSI014_PEER_PATH_(key_, type_, member, help_)                                                       \
    {                                                                                                        \
        .key = key_, .type = CONFIG_PATH, .offset = offsetof(type_, member), .fallback = CONFIG_OPTIONAL,    \
        .help = help_                                                                                        \
    }

struct etsi014_client;

/* Reads the files; connects at the first call. INVALID_ARGUMENT (no https URL, a file is not named),
 * NOT_FOUND, PERMISSION_DENIED (the key can be read by others): the text names the file. All is copied. */
enum tg_code etsi014_client_open(const struct etsi014_peer *peer, struct etsi014_client **client,
                                 struct tg_error *err) TG_MUST_CHECK;
void etsi014_client_close(struct etsi014_client *client); /* no call under way; NULL is fine */
/* Calls under way end soon, with CANCELLED, and later ones at once. Any thread. */
void etsi014_client_interrupt(struct etsi014_client *client);

/* deadline_ms: of clock_now_ms(); the configured timeout holds as well. `slave`: the other SAE. */
enum tg_code etsi014_get_status(struct etsi014_client *client, const char *slave, uint64_t deadline_ms,
                                struct etsi014_status *out, struct tg_error *err) TG_MUST_CHECK;
/* We are the master: `count` new keys of `bits` each (1 to ETSI014_KEYS_MAX; a multiple of 8). *out is the
 * caller's. */
enum tg_code etsi014_enc_keys(struct etsi014_client *client, const char *slave, size_t count, uint32_t bits,
                              uint64_t deadline_ms, struct etsi014_keys *out,
                              struct tg_error *err) TG_MUST_CHECK;
/* We are the slave: the keys that `master` drew, in the order of their ids, none twice. *out is the
 * caller's. */
enum tg_code etsi014_dec_keys(struct etsi014_client *client, const char *master,
                              const uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t count, uint32_t bits,
                              uint64_t deadline_ms, struct etsi014_keys *out,
                              struct tg_error *err) TG_MUST_CHECK;

#endif
