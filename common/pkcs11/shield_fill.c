/* Filling a token: keys added and removed, and the charger's note. */
#include <stdlib.h>
#include <string.h>

#include "common/gcm.h"
#include "common/pkcs11/shield_internal.h"
#include "common/trace.h"

static const struct token_name note_name = {.label = "fill under way"};

/* Nothing is written before all of this is sure. */
static enum tg_code check_entry(const struct shield_entry *entry, const struct held *held, size_t count,
                                struct ticket *out, struct tg_error *err)
{
    TG_TRY(ticket_peek(entry->ticket, TICKET_LEN, out, err));
    TG_ENSURE(secret_len(entry->key) == GCM_KEY_LEN, err, TG_INVALID_ARGUMENT,
              "a quantum key has %d bytes, not %zu", GCM_KEY_LEN, secret_len(entry->key));
    for (size_t i = 0; i < count; i++)
        TG_ENSURE(memcmp(held[i].ticket.key_id, out->key_id, sizeof out->key_id) != 0, err, TG_ALREADY_EXISTS,
                  "a ticket for this quantum key is on the shield already");
    return TG_OK;
}

/* The charger's clock is right, and a token is small. */
static enum tg_code remove_expired(struct token *token, const struct held *held, size_t count,
                                   struct tg_error *err)
{
    uint64_t now_s = clock_unix_us() / 1000000;
    for (size_t i = 0; i < count; i++) {
        enum tg_code code =
            held[i].ticket.expires_s <= now_s ? token_destroy(token, held[i].object, err) : TG_OK;
        if (code != TG_OK && code != TG_NOT_FOUND)
            return code;
    }
    return TG_OK;
}

static enum tg_code add_one(struct token *token, const struct shield_entry *entry,
                            const struct ticket *ticket, token_object *made, struct tg_error *err)
{
    char text[TICKET_TEXT_LEN + 1];
    ticket_to_text(entry->ticket, text);
    const struct token_name name = {.label = text, .id = ticket->key_id, .id_len = sizeof ticket->key_id};
    return token_add_key(token, &name, entry->key, made, err);
}

/* `held` has room for the new ones behind the `count` that are there. */
static enum tg_code check_all(struct held *held, size_t count, const struct shield_entry *entries,
                              size_t new_count, struct tg_error *err)
{
    for (size_t i = 0; i < new_count; i++)
        TG_TRY(check_entry(&entries[i], held, count + i, &held[count + i].ticket, err));
    return TG_OK;
}

static enum tg_code add_all(struct token *token, struct held *new, const struct shield_entry *entries,
                            size_t count, struct tg_error *err)
{
    size_t made = 0;
    enum tg_code code = TG_OK;
    while (made < count && code == TG_OK) {
        code = add_one(token, &entries[made], &new[made].ticket, &new[made].object, err);
        made += code == TG_OK;
    }
    while (code != TG_OK && made > 0) {
        if (token_destroy(token, new[--made].object, NULL) != TG_OK)
            break; /* it was pulled: the charger's note remains, and the next fill does it */
    }
    return code;
}

enum tg_code token_shield_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                              struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    struct held *held = NULL;
    size_t there = 0;
    TG_TRY(held_list(token, &held, &there, err));
    struct held *all = realloc(held, (there + count + 1) * sizeof *all);
    if (all == NULL) {
        free(held);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the shield's entries");
    }
    enum tg_code code = check_all(all, there, entries, count, err);
    if (code == TG_OK)
        code = remove_expired(token, all, there, err);
    if (code == TG_OK)
        code = add_all(token, all + there, entries, count, err);
    free(all);
    return code;
}

/* TOKEN_KEY: any with this id, ours or not: it is random. */
static enum tg_code destroy_named(struct token *token, enum token_kind kind, const struct token_name *name,
                                  struct tg_error *err)
{
    token_object *objects = NULL;
    size_t count = 0;
    TG_TRY(token_find(token, kind, name, &objects, &count, err));
    enum tg_code code = TG_OK;
    for (size_t i = 0; i < count && (code == TG_OK || code == TG_NOT_FOUND); i++)
        code = token_destroy(token, objects[i], err);
    free(objects);
    return code == TG_NOT_FOUND ? TG_OK : code;
}

enum tg_code token_shield_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                              struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    const struct token_name name = {.id = key_id, .id_len = TICKET_KEY_ID_LEN};
    token_object *objects = NULL;
    size_t count = 0;
    TG_TRY(token_find(token, TOKEN_KEY, &name, &objects, &count, err));
    free(objects);
    *there = count > 0;
    return TG_OK;
}

enum tg_code token_shield_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN],
                                 size_t count, struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    for (size_t i = 0; i < count; i++) {
        const struct token_name name = {.id = key_ids[i], .id_len = TICKET_KEY_ID_LEN};
        TG_TRY(destroy_named(token, TOKEN_KEY, &name, err));
    }
    return TG_OK;
}

enum tg_code token_shield_put_note(struct shield *shield, const void *bytes, size_t len, struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    TG_TRY(destroy_named(token, TOKEN_DATA, &note_name, err));
    return len > 0 ? token_add_data(token, note_name.label, bytes, len, err) : TG_OK;
}

enum tg_code token_shield_get_note(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    token_object *objects = NULL;
    size_t count = 0;
    *bytes = NULL;
    *len = 0;
    TG_TRY(token_find(token, TOKEN_DATA, &note_name, &objects, &count, err));
    enum tg_code code = count > 0 ? token_read_data(token, objects[0], bytes, len, err) : TG_OK;
    free(objects);
    return code;
}
