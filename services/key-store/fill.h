/* One fill on its way, in two files: fill.c makes or adopts its keys, fill_request.c takes the call and logs
 * the user in. */
#ifndef TG_KEY_STORE_FILL_H
#define TG_KEY_STORE_FILL_H

#include "services/key-store/task.h"

struct fill {
    struct task task;
    const Tg__FillRequest *request; /* the call's */
    struct store_fill row;
    bool adopts;
    struct adoption adoption;
    struct secret *keys;          /* count × KEY_LEN */
    struct store_new_key *sealed; /* count of each */
    uint8_t (*tickets)[TICKET_LEN];
    Tg__FillEntry *entries;
    Tg__FillEntry **entry_list;
    char detail[NAME_TEXT_MAX + 64];
};

extern const struct task_kind fill_kind;

/* The user has logged in: makes the keys or adopts them, and submits the task or refuses it. */
void fill_get_keys(struct fill *fill);
/* fill->request names keys to be adopted: prepares that. RESOURCE_EXHAUSTED. */
enum tg_code fill_prepare_adoption(struct fill *fill, struct tg_error *err) TG_MUST_CHECK;

#endif
