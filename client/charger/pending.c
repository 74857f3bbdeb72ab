#include "client/charger/pending.h"

#include <stdlib.h>
#include <string.h>

enum pending_sizes {
    VERSION = 1,
    BYTES_MAX = 5 + PENDING_FILL_ID_MAX + NAME_ID_MAX + (int)sizeof(((struct pending *)0)->key_ids)
};
_Static_assert((int)BYTES_MAX <= (int)SHIELD_NOTE_MAX, "a shield takes a note of any fill");

static size_t put_text(uint8_t *out, const void *text, size_t len)
{
    out[0] = (uint8_t)len;
    memcpy(out + 1, text, len);
    return 1 + len;
}

static size_t encode(const struct pending *pending, uint8_t out[BYTES_MAX])
{
    size_t at = 0;
    out[at++] = VERSION;
    at += put_text(out + at, pending->fill_id, pending->fill_id_len);
    at += put_text(out + at, pending->shield_id, strlen(pending->shield_id));
    out[at++] = (uint8_t)(pending->count >> 8);
    out[at++] = (uint8_t)pending->count;
    memcpy(out + at, pending->key_ids, pending->count * TICKET_KEY_ID_LEN);
    return at + pending->count * TICKET_KEY_ID_LEN;
}

/* Length byte and text, of 1 to max bytes; how many bytes that was, 0: malformed. */
static size_t get_text(const uint8_t *bytes, size_t len, void *out, size_t max)
{
    if (len < 1 || bytes[0] < 1 || bytes[0] > max || len < 1 + (size_t)bytes[0])
        return 0;
    memcpy(out, bytes + 1, bytes[0]);
    return 1 + (size_t)bytes[0];
}

static bool decode(const uint8_t *bytes, size_t len, struct pending *out)
{
    *out = (struct pending){0};
    size_t at = 1;
    size_t id = len > at && bytes[0] == VERSION
                    ? get_text(bytes + at, len - at, out->fill_id, sizeof out->fill_id)
                    : 0;
    at += id;
    size_t shield = id > 0 ? get_text(bytes + at, len - at, out->shield_id, NAME_ID_MAX) : 0;
    at += shield;
    if (shield == 0 || len - at < 2 || name_check_id("shield id", out->shield_id, NULL) != TG_OK)
        return false;
    out->fill_id_len = id - 1;
    out->count = (size_t)bytes[at] << 8 | bytes[at + 1];
    at += 2;
    if (out->count < 1 || out->count > PENDING_COUNT_MAX || len - at != out->count * TICKET_KEY_ID_LEN)
        return false;
    memcpy(out->key_ids, bytes + at, len - at);
    return true;
}

enum tg_code pending_write(struct shield *shield, const struct pending *pending, struct tg_error *err)
{
    uint8_t bytes[BYTES_MAX];
    TG_INVARIANT(pending->count >= 1 && pending->count <= PENDING_COUNT_MAX && pending->fill_id_len >= 1);
    return shield_put_note(shield, bytes, encode(pending, bytes), err);
}

enum tg_code pending_read(struct shield *shield, struct pending *pending, bool *found, struct tg_error *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    TG_TRY(shield_get_note(shield, &bytes, &len, err));
    *found = len > 0;
    bool good = len == 0 || decode(bytes, len, pending);
    free(bytes);
    TG_ENSURE(good, err, TG_DATA_LOSS,
              "the note of the last fill (SHIELD.pending, or the token's data object \"fill under way\") is "
              "damaged: "
              "remove it. Keys of that fill may then be refused at login");
    return TG_OK;
}

enum tg_code pending_remove(struct shield *shield, struct tg_error *err)
{
    return shield_put_note(shield, NULL, 0, err);
}
