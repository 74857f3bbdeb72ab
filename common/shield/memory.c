/* A shield in memory, for tests and load: the keychain under a random key, with nothing to make durable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/shield/keychain.h"

struct memory_shield {
    struct keychain chain; /* first: a struct shield begins it */
    uint8_t note[SHIELD_NOTE_MAX];
    size_t note_len;
};

static enum tg_code check(struct shield *shield, struct tg_error *err)
{
    (void)shield, (void)err;
    return TG_OK;
}

static enum tg_code put_note(struct shield *shield, const void *bytes, size_t len, struct tg_error *err)
{
    (void)err;
    struct memory_shield *m = (struct memory_shield *)shield;
    if (len > 0)
        memcpy(m->note, bytes, len);
    m->note_len = len;
    return TG_OK;
}

static enum tg_code get_note(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err)
{
    const struct memory_shield *m = (const struct memory_shield *)shield;
    *bytes = malloc(m->note_len + 1);
    TG_ENSURE(*bytes != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a note");
    memcpy(*bytes, m->note, m->note_len);
    *len = m->note_len;
    return TG_OK;
}

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
    static const struct shield_ops ops = {.status = keychain_status,
                                          .take = keychain_take,
                                          .add = keychain_add,
                                          .has = keychain_has,
                                          .remove = keychain_remove,
                                          .check = check,
                                          .put_note = put_note,
                                          .get_note = get_note,
                                          .close = close_memory};
    TG_TRY(name_check_id("shield id", shield_id, err));
    struct memory_shield *memory = calloc(1, sizeof *memory);
    TG_ENSURE(memory != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a shield");
    struct keychain *chain = &memory->chain;
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
