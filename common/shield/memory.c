/* A shield in memory, for tests and load: the keyring under a random key, with nothing to make durable. */
#include <stdio.h>
#include <stdlib.h>

#include "common/names.h"
#include "common/shield/keyring.h"

static enum tg_code save_nothing(struct keyring *ring, const struct slots *next, struct tg_error *err)
{
    (void)ring, (void)next, (void)err;
    return TG_OK;
}

static void close_memory(struct shield *shield)
{
    struct keyring *ring = (struct keyring *)shield;
    keyring_fini(ring);
    free(ring);
}

enum tg_code shield_memory_open(const char *shield_id, struct shield **shield, struct tg_error *err)
{
    static const struct shield_ops ops = {
        .status = keyring_status, .take = keyring_take, .add = keyring_add, .close = close_memory};
    TG_TRY(name_check_id("shield id", shield_id, err));
    struct keyring *ring = calloc(1, sizeof *ring);
    TG_ENSURE(ring != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a shield");
    ring->base.ops = &ops;
    ring->save = save_nothing;
    snprintf(ring->shield_id, sizeof ring->shield_id, "%s", shield_id);
    ring->seal_key = secret_random(GCM_KEY_LEN);
    if (ring->seal_key == NULL) {
        close_memory(&ring->base);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key (ulimit -l)");
    }
    *shield = &ring->base;
    return TG_OK;
}
