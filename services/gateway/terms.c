#include "services/gateway/terms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/protocol/channel.h"

static enum tg_code read_terms(const struct gateway_config *config, struct terms *terms, struct tg_error *err)
{
    TG_TRY(policy_set_new(&config->policies, &terms->policies, err));
    if (config->default_policy != NULL && config->default_policy[0] != '\0') {
        const struct policy *policy = policy_find(terms->policies, config->default_policy);
        TG_ENSURE(policy != NULL, err, TG_INVALID_ARGUMENT, "default_policy %s is not among the policies",
                  config->default_policy);
        snprintf(terms->default_policy, sizeof terms->default_policy, "%s", policy_name(policy));
    }
    return channel_server_context(config->certificate, config->private_key, &terms->tls, err);
}

enum tg_code terms_new(const struct gateway_config *config, struct terms **terms, struct tg_error *err)
{
    struct terms *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    atomic_init(&made->holders, 1);
    enum tg_code code = read_terms(config, made, err);
    if (code != TG_OK) {
        terms_release(made);
        return code;
    }
    *terms = made;
    return TG_OK;
}

struct terms *terms_hold(struct terms *terms)
{
    atomic_fetch_add_explicit(&terms->holders, 1, memory_order_relaxed);
    return terms;
}

void terms_release(struct terms *terms)
{
    if (terms == NULL || atomic_fetch_sub_explicit(&terms->holders, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(terms->tls);
    policy_set_free(terms->policies);
    free(terms);
}
