/* What a shield's backend brings (STYLE.md 13); for backends and shield.c only. */
#ifndef TG_COMMON_SHIELD_BACKEND_H
#define TG_COMMON_SHIELD_BACKEND_H

#include <stdbool.h>

#include "common/shield/shield.h"

/* Arguments as in shield.h. A backend's own struct begins with struct shield. */
struct shield_ops {
    enum tg_code (*status)(struct shield *shield, uint64_t now_s, struct shield_status *out,
                           struct tg_error *err);
    enum tg_code (*take)(struct shield *shield, uint64_t now_s, struct shield_key **key,
                         struct tg_error *err);
    enum tg_code (*add)(struct shield *shield, const struct shield_entry *entries, size_t count,
                        struct tg_error *err);
    enum tg_code (*check)(struct shield *shield, struct tg_error *err);
    bool (*can)(const struct shield *shield, const struct suite *suite); /* NULL: any */
    enum tg_code (*has)(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                        struct tg_error *err);
    enum tg_code (*remove)(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN], size_t count,
                           struct tg_error *err);
    enum tg_code (*put_note)(struct shield *shield, const void *bytes, size_t len, struct tg_error *err);
    enum tg_code (*get_note)(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err);
    void (*close)(struct shield *shield);
};

struct shield {
    const struct shield_ops *ops;
};

/* A token would derive inside itself; shield_key_soft holds the key in locked memory. */
struct shield_key_ops {
    enum tg_code (*derive)(struct shield_key *key, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err);
    void (*free)(struct shield_key *key);
};

struct shield_key {
    const struct shield_key_ops *ops;
    uint8_t ticket[TICKET_LEN];
    bool used;
};

/* Takes `key` over, also when it fails. */
enum tg_code shield_key_soft(const uint8_t ticket[TICKET_LEN], struct secret *key, struct shield_key **out,
                             struct tg_error *err) TG_MUST_CHECK;

#endif
