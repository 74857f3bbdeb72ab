/* Cipher suites of the client protocol (DESIGN.md 3): H, HMAC-H, HKDF-Expand and Seal. OpenSSL EVP does it
 * all. */
#ifndef TG_COMMON_PROTOCOL_SUITE_H
#define TG_COMMON_PROTOCOL_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

enum suite_id { SUITE_AES256_GCM_SHA256 = 1, SUITE_SM4_CTR_HMAC_SM3 = 2 };

enum suite_sizes {
    SUITE_HASH_LEN = 32,     /* both hashes */
    SUITE_KEY_LEN = 32,      /* every key in the schedule; SM4 uses two expansions of it */
    SUITE_TAG_MAX = 32,      /* GCM 16, HMAC-SM3 32 */
    SUITE_PLAIN_MAX = 65536, /* what Seal takes at once */
    SM3_LEN = 32
};

struct suite; /* static, never freed */

/* NULL: unknown number. Any thread, as all here. */
const struct suite *suite_find(unsigned id);
/* "AES256-GCM-SHA256", "SM4-CTR-HMAC-SM3"; NULL: unknown name. */
const struct suite *suite_by_name(const char *name);
unsigned suite_number(const struct suite *suite);
const char *suite_name(const struct suite *suite);
size_t suite_tag_len(const struct suite *suite);

/* H over the concatenation of parts, NULL-data parts are empty. */
struct suite_part {
    const void *data;
    size_t len;
};
void suite_hash(const struct suite *suite, const struct suite_part *parts, size_t count,
                uint8_t out[SUITE_HASH_LEN]);
/* SM3 whatever the suite: the digest of the client random, as the seed says (step 5). */
void sm3(const void *data, size_t len, uint8_t out[SM3_LEN]);

/* HMAC-H(key, parts...) as a new secret of SUITE_HASH_LEN bytes; NULL when the locked heap is full. */
struct secret *suite_hmac(const struct suite *suite, const struct secret *key, const struct suite_part *parts,
                          size_t count);
/* The same for a MAC that travels, and so is no secret. False when the locked heap is full: out is not to be
 * used. */
bool suite_mac(const struct suite *suite, const struct secret *key, const struct suite_part *parts,
               size_t count, uint8_t out[SUITE_HASH_LEN]) TG_MUST_CHECK;
/* HKDF-Expand (RFC 5869 2.3) with H: SUITE_KEY_LEN bytes under `label` (ASCII, no terminator). NULL as above.
 */
struct secret *suite_expand(const struct suite *suite, const struct secret *key, const char *label);

/* Seal: out gets len + suite_tag_len bytes. Nonce: `sequence` as a 96-bit big-endian number. Each (key,
 * sequence) is used once: the caller's duty. INVALID_ARGUMENT: nothing to seal, or over SUITE_PLAIN_MAX.
 * INTERNAL, RESOURCE_EXHAUSTED: OpenSSL failed, locked heap full. */
enum tg_code suite_seal(const struct suite *suite, const struct secret *key, uint64_t sequence,
                        const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out,
                        struct tg_error *err) TG_MUST_CHECK;
/* Opens sealed_len bytes; *plain is the caller's. Tag first, constant time. UNAUTHENTICATED: altered, or
 * another key. An empty plaintext is refused (INVALID_ARGUMENT), as is anything over SUITE_PLAIN_MAX. */
enum tg_code suite_open(const struct suite *suite, const struct secret *key, uint64_t sequence,
                        const void *aad, size_t aad_len, const void *sealed, size_t sealed_len,
                        struct secret **plain, struct tg_error *err) TG_MUST_CHECK;

#endif
