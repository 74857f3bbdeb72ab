/* What the files of the token shield share. */
#ifndef TG_COMMON_PKCS11_SHIELD_INTERNAL_H
#define TG_COMMON_PKCS11_SHIELD_INTERNAL_H

#include "common/pkcs11/shield.h"
#include "common/shield/backend.h"

struct token_shield {
    struct shield base;
    struct token *token;
};

/* A key with its ticket, as it is found on the token. */
struct held {
    token_object object;
    uint8_t bytes[TICKET_LEN];
    struct ticket ticket;
};

/* All of them. *held is the caller's to free(). */
enum tg_code held_list(struct token *token, struct held **held, size_t *count,
                       struct tg_error *err) TG_MUST_CHECK;

enum tg_code token_shield_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                              struct tg_error *err);
enum tg_code token_shield_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                              struct tg_error *err);
enum tg_code token_shield_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN],
                                 size_t count, struct tg_error *err);
enum tg_code token_shield_put_note(struct shield *shield, const void *bytes, size_t len,
                                   struct tg_error *err);
enum tg_code token_shield_get_note(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err);

#endif
