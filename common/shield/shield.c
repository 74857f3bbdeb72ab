#include "common/shield/shield.h"

#include "common/shield/backend.h"

void shield_close(struct shield *shield)
{
    if (shield != NULL)
        shield->ops->close(shield);
}

enum tg_code shield_get_status(struct shield *shield, uint64_t now_s, struct shield_status *out,
                               struct tg_error *err)
{
    return shield->ops->status(shield, now_s, out, err);
}

enum tg_code shield_take(struct shield *shield, uint64_t now_s, struct shield_key **key, struct tg_error *err)
{
    return shield->ops->take(shield, now_s, key, err);
}

enum tg_code shield_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                        struct tg_error *err)
{
    return shield->ops->add(shield, entries, count, err);
}

const uint8_t *shield_key_ticket(const struct shield_key *key)
{
    return key->ticket;
}

/* One derivation per key, whatever the backend; a failed one counts, since a token may have done it. */
enum tg_code shield_derive(struct shield_key *key, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err)
{
    TG_ENSURE(!key->used, err, TG_FAILED_PRECONDITION,
              "this quantum key was used already: take the next one");
    key->used = true;
    return key->ops->derive(key, suite, input, len, root, err);
}

void shield_key_free(struct shield_key *key)
{
    if (key != NULL)
        key->ops->free(key);
}
