/* A taken key in locked memory, for shields that are no token. */
#include <stdlib.h>
#include <string.h>

#include "common/shield/backend.h"

struct soft_key {
    struct shield_key base;
    struct secret *key;
};

static enum tg_code derive(struct shield_key *base, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err)
{
    struct soft_key *k = (struct soft_key *)base;
    struct secret *out = suite_hmac(suite, k->key, &(struct suite_part){input, len}, 1);
    secret_free(k->key);
    k->key = NULL;
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key (ulimit -l)");
    *root = out;
    return TG_OK;
}

static void free_key(struct shield_key *base)
{
    struct soft_key *k = (struct soft_key *)base;
    secret_free(k->key);
    free(k);
}

enum tg_code shield_key_soft(const uint8_t ticket[TICKET_LEN], struct secret *key, struct shield_key **out,
                             struct tg_error *err)
{
    static const struct shield_key_ops ops = {.derive = derive, .free = free_key};
    struct soft_key *k = calloc(1, sizeof *k);
    if (k == NULL) {
        secret_free(key);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a key");
    }
    k->base.ops = &ops;
    memcpy(k->base.ticket, ticket, TICKET_LEN);
    k->key = key;
    *out = &k->base;
    return TG_OK;
}
