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

enum tg_code shield_check(struct shield *shield, struct tg_error *err)
{
    return shield->ops->check(shield, err);
}

bool shield_can(const struct shield *shield, const struct suite *suite)
{
    return shield->ops->can == NULL || shield->ops->can(shield, suite);
}

enum tg_code shield_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                        struct tg_error *err)
{
    return shield->ops->has(shield, key_id, there, err);
}

enum tg_code shield_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN], size_t count,
                           struct tg_error *err)
{
    return shield->ops->remove(shield, key_ids, count, err);
}

enum tg_code shield_put_note(struct shield *shield, const void *bytes, size_t len, struct tg_error *err)
{
    TG_INVARIANT(len <= SHIELD_NOTE_MAX);
    return shield->ops->put_note(shield, bytes, len, err);
}

enum tg_code shield_get_note(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err)
{
    return shield->ops->get_note(shield, bytes, len, err);
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
