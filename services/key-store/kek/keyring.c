#include "services/key-store/kek/keyring.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/protocol/labels.h"
#include "services/key-store/kek/keyring_place.h"

const struct config_row kek_rows[] = {
    {.key = "id",
     .type = CONFIG_INT,
     .offset = offsetof(struct kek_config, id),
     .min = 1,
     .max = KEK_ID_MAX,
     .help = "Its number; the highest is the newest. Never give a number to another KEK again"},
    {.key = "file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct kek_config, file),
     .fallback = CONFIG_OPTIONAL,
     .help = "The KEK is in this file: 32 raw bytes, mode 0400 (a mounted secret: root's, 0440)"},
    {.key = "credential",
     .type = CONFIG_STRING,
     .offset = offsetof(struct kek_config, credential),
     .fallback = CONFIG_OPTIONAL,
     .min = 1,
     .max = 255,
     .help = "Or it is in this systemd credential (LoadCredential=, LoadCredentialEncrypted=)"},
    {.key = "pkcs11",
     .type = CONFIG_STRING,
     .offset = offsetof(struct kek_config, pkcs11),
     .fallback = CONFIG_OPTIONAL,
     .min = 8,
     .max = 1024,
     .help = "Or it is in a token: \"pkcs11:token=…;object=…\" (RFC 7512), a generic secret of 32 bytes"},
    {.key = "pin_file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct kek_config, pin_file),
     .fallback = CONFIG_OPTIONAL,
     .help = "The token's user PIN: one line in a file of mode 0400"},
    {.key = NULL},
};

static const struct kek_place *const places[] = {&kek_in_file, &kek_in_credential, &kek_in_token, NULL};

struct slot {
    uint32_t id;
    char place[KEK_PLACE_MAX];
    struct kek kek;
};

/* Slots are filled, then counted; none is ever changed or taken away again: readers need no lock. */
struct keyring {
    struct slot slots[KEKS_MAX];
    _Atomic size_t count;
};

/* ---- opening ---- */

static const char *setting(const struct kek_config *config, const struct kek_place *place)
{
    return *(char *const *)((const char *)config + place->setting);
}

static enum tg_code find_place(const struct kek_config *config, const struct kek_place **found,
                               struct tg_error *err)
{
    *found = NULL;
    for (size_t i = 0; places[i] != NULL; i++) {
        if (setting(config, places[i]) == NULL)
            continue;
        TG_ENSURE(*found == NULL, err, TG_INVALID_ARGUMENT, "KEK %lld: has two places: give one of %s and %s",
                  (long long)config->id, (*found)->name, places[i]->name);
        *found = places[i];
    }
    TG_ENSURE(*found != NULL, err, TG_INVALID_ARGUMENT,
              "KEK %lld: has no place: give file, credential or pkcs11", (long long)config->id);
    TG_ENSURE(config->pin_file == NULL || config->pkcs11 != NULL, err, TG_INVALID_ARGUMENT,
              "KEK %lld: pin_file goes with pkcs11 only", (long long)config->id);
    return TG_OK;
}

static enum tg_code open_slot(const struct kek_config *config, struct slot *slot, struct tg_error *err)
{
    struct tg_error why;
    const struct kek_place *place = NULL;
    TG_TRY(find_place(config, &place, err));
    enum tg_code code = place->open(config, &slot->kek.key, &why);
    if (code != TG_OK)
        return tg_fail(err, code, "KEK %lld: %s; put the right key there, or correct keks",
                       (long long)config->id, why.text);
    slot->kek.place = place;
    slot->id = (uint32_t)config->id;
    snprintf(slot->place, sizeof slot->place, "%s %s", place->name, setting(config, place));
    return TG_OK;
}

static enum tg_code open_all(struct keyring *ring, const struct config_list *keks, struct tg_error *err)
{
    const struct kek_config *configs = keks->items;
    TG_ENSURE(keks->count <= KEKS_MAX, err, TG_INVALID_ARGUMENT, "at most %d KEKs at once, not %zu", KEKS_MAX,
              keks->count);
    for (size_t i = 0; i < keks->count; i++) {
        TG_ENSURE(keyring_place(ring, (uint32_t)configs[i].id) == NULL, err, TG_INVALID_ARGUMENT,
                  "KEK %lld: is listed twice: each id is one KEK's", (long long)configs[i].id);
        TG_TRY(open_slot(&configs[i], &ring->slots[i], err));
        ring->count = i + 1;
    }
    return TG_OK;
}

enum tg_code keyring_open(const struct config_list *keks, struct keyring **ring, struct tg_error *err)
{
    struct keyring *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the keyring");
    enum tg_code code = open_all(made, keks, err);
    if (code == TG_OK)
        *ring = made;
    else
        keyring_close(made);
    return code;
}

void keyring_close(struct keyring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; i < ring->count; i++)
        ring->slots[i].kek.place->close(ring->slots[i].kek.key);
    free(ring);
}

enum tg_code keyring_merge(struct keyring *ring, struct keyring *fresh, struct tg_error *err)
{
    size_t count = ring->count;
    TG_ENSURE(count + fresh->count <= KEKS_MAX, err, TG_FAILED_PRECONDITION,
              "at most %d KEKs at once: restart, so that those removed from keks go", KEKS_MAX);
    for (size_t i = 0; i < fresh->count; i++) {
        TG_INVARIANT(keyring_place(ring, fresh->slots[i].id) == NULL);
        ring->slots[count + i] = fresh->slots[i];
    }
    ring->count = count + fresh->count;
    fresh->count = 0;
    keyring_close(fresh);
    return TG_OK;
}

/* ---- using ---- */

static const struct slot *find(const struct keyring *ring, uint32_t id)
{
    size_t count = ring->count;
    for (size_t i = 0; i < count; i++)
        if (ring->slots[i].id == id)
            return &ring->slots[i];
    return NULL;
}

size_t keyring_count(const struct keyring *ring)
{
    return ring->count;
}

uint32_t keyring_id(const struct keyring *ring, size_t index)
{
    TG_INVARIANT(index < ring->count);
    return ring->slots[index].id;
}

uint32_t keyring_newest(const struct keyring *ring)
{
    uint32_t newest = 0;
    size_t count = ring->count;
    for (size_t i = 0; i < count; i++)
        newest = ring->slots[i].id > newest ? ring->slots[i].id : newest;
    return newest;
}

const char *keyring_place(const struct keyring *ring, uint32_t id)
{
    const struct slot *slot = find(ring, id);
    return slot != NULL ? slot->place : NULL;
}

enum tg_code keyring_derive(const struct keyring *ring, uint32_t id, const char *label, struct secret **out,
                            struct tg_error *err)
{
    const struct slot *slot = find(ring, id);
    TG_ENSURE(slot != NULL, err, TG_NOT_FOUND, "KEK %u is not in the keyring", id);
    return slot->kek.place->derive(slot->kek.key, label, out, err);
}

enum tg_code keyring_check_value(const struct keyring *ring, uint32_t id, uint8_t out[KEK_CHECK_LEN],
                                 struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *check = NULL;
    TG_TRY(keyring_derive(ring, id, LABEL_KEK_CHECK, &check, err));
    TG_INVARIANT(secret_len(check) == KEK_CHECK_LEN);
    memcpy(out, secret_view(check), KEK_CHECK_LEN);
    return TG_OK;
}
