/* A fill that the key store has made and we have not yet confirmed, remembered beside the shield
 * ("SHIELD.pending"): so that a charger that died in between is caught up with by the next one, and no key
 * stays on a shield unusable. */
#ifndef TG_CLIENT_CHARGER_PENDING_H
#define TG_CLIENT_CHARGER_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/names.h"

enum { PENDING_FILL_ID_MAX = 64 };

struct pending {
    uint8_t fill_id[PENDING_FILL_ID_MAX];
    size_t fill_id_len;
    char shield_id[NAME_ID_MAX + 1];
    uint32_t keys_before; /* on the shield, expired ones included, before this fill was added */
    uint32_t count;       /* of this fill */
};

/* Durable on return. */
enum tg_code pending_write(const char *shield, const struct pending *pending,
                           struct tg_error *err) TG_MUST_CHECK;
/* *found false: there is none. DATA_LOSS: there is one that cannot be read; the text says what to do. */
enum tg_code pending_read(const char *shield, struct pending *pending, bool *found,
                          struct tg_error *err) TG_MUST_CHECK;
/* Forgets it. */
enum tg_code pending_remove(const char *shield, struct tg_error *err) TG_MUST_CHECK;

#endif
