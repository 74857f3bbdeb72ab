#include "common/shield/keychain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"

_Static_assert(sizeof(struct slot) == TICKET_LEN + GCM_NONCE_LEN + GCM_KEY_LEN + GCM_TAG_LEN, "no padding");

static void free_slots(struct slots *slots)
{
    free(slots->at);
}

/* Tickets were looked at when they were added. */
static struct ticket ticket_of(const struct slot *slot)
{
    struct ticket t;
    TG_INVARIANT(ticket_peek(slot->ticket, sizeof slot->ticket, &t, NULL) == TG_OK);
    return t;
}

enum tg_code keychain_status(struct shield *shield, uint64_t now_s, struct shield_status *out,
                             struct tg_error *err)
{
    (void)err;
    const struct keychain *chain = (const struct keychain *)shield;
    *out = (struct shield_status){0};
    snprintf(out->shield_id, sizeof out->shield_id, "%s", chain->shield_id);
    for (size_t i = 0; i < chain->slots.count; i++) {
        uint64_t expires_s = ticket_of(&chain->slots.at[i]).expires_s;
        if (expires_s <= now_s) {
            out->expired++;
            continue;
        }
        out->ready++;
        if (out->next_expiry_s == 0 || expires_s < out->next_expiry_s)
            out->next_expiry_s = expires_s;
    }
    return TG_OK;
}

/* The one that expires first, so that the fewest go to waste; slots.count: none. */
static size_t find_next(const struct slots *slots, uint64_t now_s)
{
    size_t next = slots->count;
    uint64_t soonest = UINT64_MAX;
    for (size_t i = 0; i < slots->count; i++) {
        uint64_t expires_s = ticket_of(&slots->at[i]).expires_s;
        if (expires_s > now_s && (next == slots->count || expires_s < soonest)) {
            next = i;
            soonest = expires_s;
        }
    }
    return next;
}

/* A copy with room for `more`; the keychain itself changes only after the copy is durable. */
static enum tg_code copy_slots(const struct slots *slots, size_t more, struct slots *out,
                               struct tg_error *err)
{
    out->at = calloc(slots->count + more + 1, sizeof *out->at);
    TG_ENSURE(out->at != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the shield's entries");
    if (slots->count > 0)
        memcpy(out->at, slots->at, slots->count * sizeof *slots->at);
    out->count = slots->count;
    return TG_OK;
}

static void remove_slot(struct slots *slots, size_t index)
{
    slots->count--;
    memmove(&slots->at[index], &slots->at[index + 1], (slots->count - index) * sizeof *slots->at);
}

static enum tg_code commit(struct keychain *chain, struct slots *next, struct tg_error *err)
{
    TG_TRY(chain->save(chain, next, err));
    struct slots old = chain->slots;
    chain->slots = *next;
    *next = old;
    return TG_OK;
}

enum tg_code keychain_take(struct shield *shield, uint64_t now_s, struct shield_key **key,
                           struct tg_error *err)
{
    struct keychain *chain = (struct keychain *)shield;
    size_t index = find_next(&chain->slots, now_s);
    TG_ENSURE(index < chain->slots.count, err, TG_FAILED_PRECONDITION,
              "no quantum key is left on shield %s: fill it at the charger", chain->shield_id);
    struct slot slot = chain->slots.at[index];
    TG_CLEANUP(secret_cleanup) struct secret *open = NULL;
    TG_ENSURE(gcm_open(chain->seal_key, slot.nonce, slot.ticket, sizeof slot.ticket, slot.sealed_key,
                       sizeof slot.sealed_key, &open, err) == TG_OK,
              err, TG_DATA_LOSS, "a key on shield %s does not open: have the shield replaced",
              chain->shield_id);
    TG_CLEANUP(free_slots) struct slots next = {0};
    TG_TRY(copy_slots(&chain->slots, 0, &next, err));
    remove_slot(&next, index);
    TG_TRY(commit(chain, &next, err)); /* before anybody can use the key */
    struct secret *taken = open;
    open = NULL;
    return shield_key_soft(slot.ticket, taken, key, err);
}

/* slots->count: it is not there. */
static size_t find_key(const struct slots *slots, const uint8_t key_id[TICKET_KEY_ID_LEN])
{
    size_t i = 0;
    while (i < slots->count && memcmp(ticket_of(&slots->at[i]).key_id, key_id, TICKET_KEY_ID_LEN) != 0)
        i++;
    return i;
}

static enum tg_code check_new(const struct slots *slots, const struct shield_entry *entry,
                              struct tg_error *err)
{
    struct ticket new;
    TG_TRY(ticket_peek(entry->ticket, TICKET_LEN, &new, err));
    TG_ENSURE(secret_len(entry->key) == GCM_KEY_LEN, err, TG_INVALID_ARGUMENT,
              "a quantum key has %d bytes, not %zu", GCM_KEY_LEN, secret_len(entry->key));
    TG_ENSURE(find_key(slots, new.key_id) == slots->count, err, TG_ALREADY_EXISTS,
              "a ticket for this quantum key is on the shield already");
    return TG_OK;
}

static enum tg_code append(const struct secret *seal_key, struct slots *slots,
                           const struct shield_entry *entry, struct tg_error *err)
{
    TG_INVARIANT(slots->at != NULL);
    TG_TRY(check_new(slots, entry, err));
    struct slot *slot = &slots->at[slots->count];
    memcpy(slot->ticket, entry->ticket, sizeof slot->ticket);
    random_bytes(slot->nonce, sizeof slot->nonce);
    TG_TRY(gcm_seal(seal_key, slot->nonce, slot->ticket, sizeof slot->ticket, secret_view(entry->key),
                    GCM_KEY_LEN, slot->sealed_key, err));
    slots->count++;
    return TG_OK;
}

/* Expired entries are left alone until their room is needed: the user's clock may be wrong, the charger's is
 * not. */
static void make_room(struct slots *slots, size_t wanted)
{
    uint64_t now_s = clock_unix_us() / 1000000;
    for (size_t i = slots->count; i-- > 0 && slots->count + wanted > KEYCHAIN_MAX;)
        if (ticket_of(&slots->at[i]).expires_s <= now_s)
            remove_slot(slots, i);
}

static enum tg_code extend(const struct keychain *chain, struct slots *slots,
                           const struct shield_entry *entries, size_t count, struct tg_error *err)
{
    make_room(slots, count);
    TG_ENSURE(slots->count + count <= KEYCHAIN_MAX, err, TG_RESOURCE_EXHAUSTED,
              "shield %s holds %zu keys of at most %d: ask for fewer", chain->shield_id, slots->count,
              KEYCHAIN_MAX);
    for (size_t i = 0; i < count; i++)
        TG_TRY(append(chain->seal_key, slots, &entries[i], err));
    return TG_OK;
}

enum tg_code keychain_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                          struct tg_error *err)
{
    struct keychain *chain = (struct keychain *)shield;
    struct slots next = {0};
    TG_ENSURE(count <= KEYCHAIN_MAX, err, TG_RESOURCE_EXHAUSTED, "a shield holds %d keys, not %zu",
              KEYCHAIN_MAX, count);
    enum tg_code code = copy_slots(&chain->slots, count, &next, err);
    if (code == TG_OK)
        code = extend(chain, &next, entries, count, err);
    if (code == TG_OK)
        code = commit(chain, &next, err);
    free_slots(&next);
    return code;
}

enum tg_code keychain_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                          struct tg_error *err)
{
    (void)err;
    const struct slots *slots = &((const struct keychain *)shield)->slots;
    *there = find_key(slots, key_id) < slots->count;
    return TG_OK;
}

enum tg_code keychain_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN], size_t count,
                             struct tg_error *err)
{
    struct keychain *chain = (struct keychain *)shield;
    struct slots next = {0};
    enum tg_code code = copy_slots(&chain->slots, 0, &next, err);
    for (size_t i = 0; i < count && code == TG_OK; i++) {
        size_t at = find_key(&next, key_ids[i]);
        if (at < next.count)
            remove_slot(&next, at);
    }
    if (code == TG_OK && next.count != chain->slots.count)
        code = commit(chain, &next, err);
    free_slots(&next);
    return code;
}

void keychain_fini(struct keychain *chain)
{
    secret_free(chain->seal_key);
    free_slots(&chain->slots);
}
