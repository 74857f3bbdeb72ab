/* Where a KEK may lie: a struct of functions, one file for each kind of place. */
#ifndef TG_KEY_STORE_KEYRING_PLACE_H
#define TG_KEY_STORE_KEYRING_PLACE_H

#include "services/key-store/kek/keyring.h"

/* An opened KEK. */
struct kek {
    const struct kek_place *place;
    void *key; /* the place's own */
};

struct kek_place {
    const char *name; /* "file" */
    size_t setting;   /* offsetof its key in struct kek_config: that one is given */
    enum tg_code (*open)(const struct kek_config *config, void **key, struct tg_error *err);
    /* HKDF-Expand(KEK, label), 32 bytes. Any thread. */
    enum tg_code (*derive)(void *key, const char *label, struct secret **out, struct tg_error *err);
    void (*close)(void *key);
};

extern const struct kek_place kek_in_file, kek_in_credential; /* keyring_file.c */
extern const struct kek_place kek_in_token;                   /* keyring_pkcs11.c */

#endif
