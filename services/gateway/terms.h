/* The terms of a connection: what SIGHUP may replace. A connection keeps those it began with, to its end. */
#ifndef TG_GATEWAY_TERMS_H
#define TG_GATEWAY_TERMS_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "services/gateway/gateway.h"
#include "services/gateway/policy.h"

struct terms {
    atomic_uint holders;
    SSL_CTX *tls; /* first TLS, with the gateway's certificate */
    struct policy_set *policies;
    char default_policy[POLICY_NAME_MAX + 1]; /* "": none */
};

/* Reads certificate, key and policies; held once, by the caller. Immutable afterwards. */
enum tg_code terms_new(const struct gateway_config *config, struct terms **terms,
                       struct tg_error *err) TG_MUST_CHECK;
/* Any thread. NULL may be released. */
struct terms *terms_hold(struct terms *terms);
void terms_release(struct terms *terms);

#endif
