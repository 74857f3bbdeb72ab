/* One question to a KME and its answer: HTTP over mutual TLS, by libcurl (client.h is what others use). */
#ifndef TG_COMMON_ETSI014_EXCHANGE_H
#define TG_COMMON_ETSI014_EXCHANGE_H

#include <stdint.h>

#include "common/etsi014/client.h"

struct exchange;

struct exchange_question {
    const char *sae;   /* the other SAE */
    const char *call;  /* "status", "enc_keys", "dec_keys" */
    const char *query; /* "number=1&size=256", or "" */
    const char *body;  /* NULL: GET */
    size_t body_len;
};

struct exchange_answer {
    const char *body; /* borrowed until the next question; wiped then */
    size_t len;
};

/* Codes as in client.h. One thread at a time, but for interrupt. */
enum tg_code exchange_open(const struct etsi014_peer *peer, struct exchange **exchange,
                           struct tg_error *err) TG_MUST_CHECK;
void exchange_close(struct exchange *exchange);
void exchange_interrupt(struct exchange *exchange);
/* OK: status 200. */
enum tg_code exchange_ask(struct exchange *exchange, const struct exchange_question *question,
                          uint64_t deadline_ms, struct exchange_answer *answer,
                          struct tg_error *err) TG_MUST_CHECK;
/* Forgets the last answer. */
void exchange_wipe(struct exchange *exchange);
const char *exchange_url(const struct exchange *exchange);

#endif
