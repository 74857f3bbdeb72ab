/* A shield in memory, for tests and load: the keychain under a random key, with nothing to make durable. */
#include <stdio.h>
#include <stdlib.h>

#include "common/names.h"
#include "common/shield/keychain.h"

static enum tg_code save_nothing(struct keychain *chain, const struct slots *next, struct tg_error *err)
{
    (void)chain, (void)next, (void)err;
    return TG_OK;
}

static void close_memory(struct shield *shield)
{
    struct keychain *chain = (struct keychain *)shield;
    keychain_fini(chain);
    free(chain);
}

enum tg_code shield_memory_open(const char *shield_id, struct shield **shield, struct tg_error *err)
{
    static const struct shield_ops ops = {
        .status = keychain_status, .take = keychain_take, .add = keychain_add, .close = close_memory};
    TG_TRY(name_check_id("shield id", shield_id, err));
    struct keychain *chain = calloc(1, sizeof *chain);
    TG_ENSURE(chain != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a shield");
    chain->base.ops = &ops;
    chain->save = save_nothing;
    snprintf(chain->shield_id, sizeof chain->shield_id, "%s", shield_id);
    chain->seal_key = secret_random(GCM_KEY_LEN);
    if (chain->seal_key == NULL) {
        close_memory(&chain->base);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key (ulimit -l)");
    }
    *shield = &chain->base;
    return TG_OK;
}
