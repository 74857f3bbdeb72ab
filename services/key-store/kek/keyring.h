/* The key-encryption keys (KEKs): a ring of versions, each with an id that is stored beside everything
 * wrapped under it. New things are wrapped under the newest, the highest id; older ones open what they have
 * wrapped until rotation has moved it (rotation.h), and can then be removed.
 *
 * Keys stay, operations travel: the ring derives with a KEK and gives none out, so one may as well lie in a
 * PKCS#11 token that never lets it go. */
#ifndef TG_KEY_STORE_KEYRING_H
#define TG_KEY_STORE_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/secret.h"

enum keyring_limits {
    KEK_LEN = 32,
    KEK_CHECK_LEN = 32,
    KEK_ID_MAX = 999, /* ids are 1 to this, and each is used for one KEK, ever */
    KEKS_MAX = 16,    /* at once */
    KEK_PLACE_MAX = 160
};

/* One entry of the configuration's `keks`: exactly one of the places. */
struct kek_config {
    int64_t id;
    char *file;       /* KEK_LEN raw bytes, private as file_read_secret wants it; mounted secrets, too */
    char *credential; /* the same, as a file of this name in systemd's $CREDENTIALS_DIRECTORY */
    char *pkcs11;     /* RFC 7512 URI of a secret key in a token */
    char *pin_file;   /* the token's user PIN: a line in a private file */
};
extern const struct config_row kek_rows[]; /* ended by key NULL */

struct keyring;

/* Opens every KEK of `keks` (struct kek_config). INVALID_ARGUMENT (no place or several, an id given twice,
 * wrong length, all bytes alike), NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE (token), RESOURCE_EXHAUSTED.
 * Texts name the KEK and its place. Nothing is ever written there. */
enum tg_code keyring_open(const struct config_list *keks, struct keyring **ring,
                          struct tg_error *err) TG_MUST_CHECK;
void keyring_close(struct keyring *ring); /* wipes; NULL is fine */

/* Moves what `fresh` holds, none of its ids in `ring`, into `ring` and closes `fresh`; calls on `ring` may go
 * on meanwhile. One thread at a time. FAILED_PRECONDITION: more than KEKS_MAX; both are as they were. */
enum tg_code keyring_merge(struct keyring *ring, struct keyring *fresh, struct tg_error *err) TG_MUST_CHECK;

/* All below: any thread. */
size_t keyring_count(const struct keyring *ring);
uint32_t keyring_id(const struct keyring *ring, size_t index); /* in no order */
uint32_t keyring_newest(const struct keyring *ring);           /* 0: the ring is empty */
/* "file /etc/ticketgate/kek.key"; borrowed, NULL: no such KEK. For people. */
const char *keyring_place(const struct keyring *ring, uint32_t id);

/* HKDF-Expand(KEK id, label) with SHA-256: a new secret of 32 bytes. NOT_FOUND: no such KEK in the ring (no
 * text). UNAVAILABLE: the token does not answer. RESOURCE_EXHAUSTED: locked heap full. */
enum tg_code keyring_derive(const struct keyring *ring, uint32_t id, const char *label, struct secret **out,
                            struct tg_error *err) TG_MUST_CHECK;

/* A value that tells one KEK from another and nothing else about it, to be kept in the database. Errors as
 * keyring_derive. */
enum tg_code keyring_check_value(const struct keyring *ring, uint32_t id, uint8_t out[KEK_CHECK_LEN],
                                 struct tg_error *err) TG_MUST_CHECK;

#endif
