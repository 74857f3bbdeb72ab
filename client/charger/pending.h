/* A fill that the key store has made and we have not yet confirmed, as the note that stays with the shield:
 * so that a charger that died in between is caught up with by the next one, at whatever station.
 *
 *   version (1) = 1 | fill id length (1) | fill id | shield id length (1) | shield id | count (2) | key ids
 * (16 each), in the order in which they go onto the shield
 *
 * Taking goes in the same order (shield.h), so the last key is there from the moment all are, and until all
 * are used up. */
#ifndef TG_CLIENT_CHARGER_PENDING_H
#define TG_CLIENT_CHARGER_PENDING_H

#include "common/names.h"
#include "common/shield/shield.h"

enum { PENDING_FILL_ID_MAX = 64, PENDING_COUNT_MAX = 1000 };

struct pending {
    uint8_t fill_id[PENDING_FILL_ID_MAX];
    size_t fill_id_len;
    char shield_id[NAME_ID_MAX + 1];
    size_t count; /* 1 to PENDING_COUNT_MAX */
    uint8_t key_ids[PENDING_COUNT_MAX][TICKET_KEY_ID_LEN];
};

/* Durable on return. */
enum tg_code pending_write(struct shield *shield, const struct pending *pending,
                           struct tg_error *err) TG_MUST_CHECK;
/* *found false: there is none. DATA_LOSS: there is one that cannot be read; the text says what to do. */
enum tg_code pending_read(struct shield *shield, struct pending *pending, bool *found,
                          struct tg_error *err) TG_MUST_CHECK;
/* Forgets it. */
enum tg_code pending_remove(struct shield *shield, struct tg_error *err) TG_MUST_CHECK;

#endif
