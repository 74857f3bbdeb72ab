/* What the suites' files share; nobody else includes this. */
#ifndef TG_COMMON_PROTOCOL_SUITE_INTERNAL_H
#define TG_COMMON_PROTOCOL_SUITE_INTERNAL_H

#include <openssl/evp.h>

#include "common/protocol/suite.h"

/* Seal's arguments, the same for both directions; bounds are checked by suite_seal and suite_open. */
struct suite_message {
    const struct secret *key;
    uint64_t sequence;
    const void *aad;
    size_t aad_len;
    const void *in;
    size_t len; /* of the plaintext, in both directions */
};

struct suite {
    unsigned number;
    const char *name;
    size_t tag_len;
    enum suite_hash_index { SUITE_SHA256, SUITE_SM3, SUITE_HASHES } hash;
    enum tg_code (*seal)(const struct suite_message *message, uint8_t *out, struct tg_error *err);
    enum tg_code (*open)(const struct suite_message *message, uint8_t *plain, struct tg_error *err);
};

extern const struct suite suite_aes_gcm, suite_sm4;

/* The sequence number as 96 bits, big endian. */
void suite_nonce(uint64_t sequence, uint8_t out[12]);

/* The suite's hash, fetched once per process. */
const EVP_MD *suite_md(const struct suite *suite);

#endif
