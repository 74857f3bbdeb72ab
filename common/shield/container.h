/* The bytes of a file shield's container; for the file backend, its tests and its fuzz target.
 *
 *   "TGSHIELD" (8) | version (1) = 1 | log2 N (1) | r (1) | p (1) | salt (16) | nonce (12) | id length (1) |
 * shield id | slots (125 each, keychain.h) sealed as a whole with AES-256-GCM, tag (16) last; aad = all bytes
 * before
 *
 *   PIN key = scrypt(PIN, salt, N, r, p) (RFC 7914), 32 bytes
 *   body key, seal key = HKDF-Expand(PIN key, LABEL_SHIELD_BODY | LABEL_SHIELD_KEYS) with SHA-256
 *
 * The nonce is random at each writing: a counter would repeat in a copy that goes its own way. */
#ifndef TG_COMMON_SHIELD_CONTAINER_H
#define TG_COMMON_SHIELD_CONTAINER_H

#include "common/names.h"
#include "common/shield/keychain.h"

enum container_limits {
    CONTAINER_SALT_LEN = 16,
    CONTAINER_FIXED_LEN = 8 + 1 + 3 + CONTAINER_SALT_LEN + GCM_NONCE_LEN + 1, /* up to the shield id */
    CONTAINER_MAX = CONTAINER_FIXED_LEN + NAME_ID_MAX + KEYCHAIN_MAX * (int)sizeof(struct slot) + GCM_TAG_LEN,
    /* What a header may ask for: 2^17 means 128 MiB, so that a hostile file cannot exhaust memory. */
    CONTAINER_LOG2_N_MIN = 10,
    CONTAINER_LOG2_N_MAX = 17,
    CONTAINER_LOG2_N = 15,
    CONTAINER_R = 8,
    CONTAINER_P_MAX = 4
};

struct container {
    uint8_t log2_n, r, p;
    uint8_t salt[CONTAINER_SALT_LEN];
    char shield_id[NAME_ID_MAX + 1];
    struct secret *body_key; /* owned, both */
    struct secret *seal_key;
};

/* Reads the header alone. DATA_LOSS: no container, damaged, or parameters out of bounds. Keys are left NULL.
 */
enum tg_code container_peek(const uint8_t *bytes, size_t len, struct container *out,
                            struct tg_error *err) TG_MUST_CHECK;

/* Derives both keys: takes a tenth of a second and 32 MiB by intent. */
enum tg_code container_unlock(struct container *container, const struct secret *pin,
                              struct tg_error *err) TG_MUST_CHECK;

/* Opens the body of what container_peek accepted. UNAUTHENTICATED: another PIN, or altered. out is the
 * caller's. */
enum tg_code container_open(const struct container *container, const uint8_t *bytes, size_t len,
                            struct slots *out, struct tg_error *err) TG_MUST_CHECK;

/* The whole file, the caller's to free(). */
enum tg_code container_seal(const struct container *container, const struct slots *slots, uint8_t **bytes,
                            size_t *len, struct tg_error *err) TG_MUST_CHECK;

void container_fini(struct container *container);

#endif
