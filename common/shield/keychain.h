/* The entries of a shield that is no token, each quantum key sealed by itself, so that only a taken one is
 * ever open in memory. The file and memory backends embed one; for backends only. */
#ifndef TG_COMMON_SHIELD_KEYCHAIN_H
#define TG_COMMON_SHIELD_KEYCHAIN_H

#include "common/gcm.h"
#include "common/shield/backend.h"

enum { KEYCHAIN_MAX = 4096 };

/* Also the layout in the container file: bytes only, no padding. aad of the sealed key is the ticket. */
struct slot {
    uint8_t ticket[TICKET_LEN];
    uint8_t nonce[GCM_NONCE_LEN];
    uint8_t sealed_key[GCM_KEY_LEN + GCM_TAG_LEN];
};

struct slots {
    struct slot *at; /* malloc'ed */
    size_t count;
};

struct keychain {
    struct shield base;
    char shield_id[SHIELD_ID_LEN + 1];
    struct secret *seal_key; /* seals the slots' keys; owned */
    struct slots slots;      /* owned */
    /* Makes `next` durable; called before the keychain changes. */
    enum tg_code (*save)(struct keychain *chain, const struct slots *next, struct tg_error *err);
};

/* Fills in the operations of chain->base but close; the rest is the caller's. */
enum tg_code keychain_status(struct shield *shield, uint64_t now_s, struct shield_status *out,
                             struct tg_error *err);
enum tg_code keychain_take(struct shield *shield, uint64_t now_s, struct shield_key **key,
                           struct tg_error *err);
enum tg_code keychain_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                          struct tg_error *err);
enum tg_code keychain_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                          struct tg_error *err);
enum tg_code keychain_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN], size_t count,
                             struct tg_error *err);
/* Frees what the keychain owns, not itself. */
void keychain_fini(struct keychain *chain);

#endif
