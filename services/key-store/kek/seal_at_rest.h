/* How a key lies in the database: sealed under a random data key of its own, the data key wrapped by a
 * key-encryption key (DESIGN.md 5, docs/key-centre.md). Destroying the wrapped data key destroys the key.
 *
 *   sealed  = AES-256-GCM(data key, nonce 0, aad = kind ‖ schema version ‖ id, key)
 *   wrapped = salt ‖ AES-256-GCM(HKDF-Expand(KEK, "key store wrap " ‖ hex(salt)), nonce 0, aad = KEK id ‖ the
 * above, data key)
 *
 * Both keys are used for one message each, so nonce 0 never repeats under a key, however often something is
 * wrapped again. The KEK's id is not in the inner aad: rotation wraps data keys anew and leaves what they
 * seal alone. */
#ifndef TG_KEY_STORE_SEAL_AT_REST_H
#define TG_KEY_STORE_SEAL_AT_REST_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/gcm.h"
#include "common/secret.h"
#include "services/key-store/kek/keyring.h"

enum at_rest_sizes {
    AT_REST_KEY_LEN = 32,
    AT_REST_SALT_LEN = 16,
    AT_REST_WRAPPED_LEN = AT_REST_SALT_LEN + GCM_KEY_LEN + GCM_TAG_LEN,
    AT_REST_SEALED_LEN = AT_REST_KEY_LEN + GCM_TAG_LEN,
    AT_REST_ID_MAX = 64,
    AT_REST_VERSION = 1 /* of this layout */
};

struct at_rest {
    uint32_t kek; /* id in the keyring; 0: destroyed */
    uint8_t wrapped[AT_REST_WRAPPED_LEN];
    uint8_t sealed[AT_REST_SEALED_LEN];
};

/* Whose key: a row moved to another id does not open. */
enum at_rest_kind { AT_REST_QUANTUM_KEY = 1, AT_REST_QKUD_KEY = 2, AT_REST_SAE_KEY = 3 };
struct at_rest_name {
    enum at_rest_kind kind;
    const void *id;
    size_t len; /* 1 to AT_REST_ID_MAX */
};

/* `key`: AT_REST_KEY_LEN bytes. Under the newest KEK. RESOURCE_EXHAUSTED (locked heap full), UNAVAILABLE (the
 * KEK's token does not answer), INTERNAL. Any thread, as all here. */
enum tg_code at_rest_seal(const struct keyring *ring, const struct at_rest_name *name, const void *key,
                          struct at_rest *out, struct tg_error *err) TG_MUST_CHECK;
/* *key is the caller's. DATA_LOSS: altered, or of another id. UNAVAILABLE also when its KEK is not in the
 * ring: another key store on the same database may have it. */
enum tg_code at_rest_open(const struct keyring *ring, const struct at_rest_name *name,
                          const struct at_rest *in, struct secret **key, struct tg_error *err) TG_MUST_CHECK;
/* The same key with its data key wrapped anew, under the newest KEK. The key itself is not opened. */
enum tg_code at_rest_rewrap(const struct keyring *ring, const struct at_rest_name *name,
                            const struct at_rest *in, struct at_rest *out,
                            struct tg_error *err) TG_MUST_CHECK;
/* In the transaction that stores what was sealed a moment ago: the same, if a newer KEK has come in between.
 * So that a rotation which found nothing more to do has missed nothing. */
enum tg_code at_rest_renew(const struct keyring *ring, const struct at_rest_name *name, struct at_rest *key,
                           struct tg_error *err) TG_MUST_CHECK;

#endif
