#include "services/key-store/store/notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum tg_code note_check(struct store *store, const char *name, const void *value, size_t len, bool *same,
                        struct tg_error *err)
{
    uint8_t kept[STORE_NOTE_MAX];
    size_t kept_len = 0;
    enum tg_code code = store->ops->note_add(store, name, value, len, err);
    *same = true;
    if (code != TG_ALREADY_EXISTS)
        return code;
    code = store->ops->note_find(store, name, kept, &kept_len, err);
    *same = code == TG_OK && kept_len == len && memcmp(kept, value, len) == 0;
    return code;
}

struct kek_note {
    char name[16];
};

static struct kek_note kek_note(uint32_t id)
{
    struct kek_note note;
    snprintf(note.name, sizeof note.name, "kek %u", id);
    return note;
}

static enum tg_code check_kek(struct store *store, const struct keyring *ring, uint32_t id,
                              struct tg_error *err)
{
    uint8_t check[KEK_CHECK_LEN];
    bool same;
    TG_TRY(keyring_check_value(ring, id, check, err));
    TG_TRY(note_check(store, kek_note(id).name, check, sizeof check, &same, err));
    TG_ENSURE(
        same, err, TG_FAILED_PRECONDITION,
        "KEK %u (%s) is not the one that this database knows by that id: restore it, or give a new KEK a "
        "new id",
        id, keyring_place(ring, id));
    return TG_OK;
}

enum tg_code notes_check_keks(struct store *store, const struct keyring *ring, struct tg_error *err)
{
    for (size_t i = 0; i < keyring_count(ring); i++)
        TG_TRY(check_kek(store, ring, keyring_id(ring, i), err));
    return TG_OK;
}

/* Nothing is wrapped by a KEK before there is a note of it. */
static enum tg_code check_missing(struct store *store, uint32_t id, struct tg_error *err)
{
    uint8_t kept[STORE_NOTE_MAX];
    size_t kept_len = 0;
    uint64_t rows = 0;
    enum tg_code code = store->ops->note_find(store, kek_note(id).name, kept, &kept_len, err);
    if (code == TG_NOT_FOUND)
        return TG_OK;
    TG_TRY(code);
    TG_TRY(store->ops->kek_rows(store, id, &rows, err));
    TG_ENSURE(rows == 0, err, TG_FAILED_PRECONDITION,
              "KEK %u is not in keks, but %" PRIu64
              " keys in this database need it: put it back, run tgctl kek "
              "rotate, and remove it when tgctl kek list says so",
              id, rows);
    return TG_OK;
}

enum tg_code notes_check_none_missing(struct store *store, const struct keyring *ring, struct tg_error *err)
{
    for (uint32_t id = 1; id <= KEK_ID_MAX; id++)
        if (keyring_place(ring, id) == NULL)
            TG_TRY(check_missing(store, id, err));
    return TG_OK;
}
