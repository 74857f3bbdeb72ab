/* SM4-CTR-HMAC-SM3 (GB/T 32907, GB/T 32905): encrypt, then MAC. The cipher key is the first 16 bytes of
 * HKDF-Expand(key, "sm4 key"), the MAC key HKDF-Expand(key, "sm4 mac"). The counter block is the 96-bit
 * sequence number and a 32-bit block count from 0. Tag = HMAC-SM3(len(aad) ‖ len(ciphertext) ‖ aad ‖ counter
 * block ‖ ciphertext), lengths in bytes, 64 bit, big endian: no two inputs share an encoding. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

#include "common/protocol/labels.h"
#include "common/protocol/suite_internal.h"

enum { COUNTER_LEN = 16, TAG_LEN = 32 };

static EVP_CIPHER *sm4_ctr;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sm4_ctr = EVP_CIPHER_fetch(NULL, "SM4-CTR", NULL);
    TG_INVARIANT(sm4_ctr != NULL);
}

static void counter_block(uint64_t sequence, uint8_t out[COUNTER_LEN])
{
    memset(out, 0, COUNTER_LEN);
    suite_nonce(sequence, out);
}

/* CTR is its own inverse. */
static enum tg_code crypt(const struct suite_message *m, uint8_t *out, struct tg_error *err)
{
    TG_INVARIANT(pthread_once(&fetched, fetch) == 0);
    uint8_t counter[COUNTER_LEN];
    counter_block(m->sequence, counter);
    TG_CLEANUP(secret_cleanup) struct secret *key = suite_expand(&suite_sm4, m->key, LABEL_SM4_KEY);
    TG_ENSURE(key != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    bool done = ctx != NULL && EVP_EncryptInit_ex2(ctx, sm4_ctr, secret_view(key), counter, NULL) == 1 &&
                EVP_EncryptUpdate(ctx, out, &n, m->in, (int)m->len) == 1 && n == (int)m->len;
    EVP_CIPHER_CTX_free(ctx);
    if (!done)
        ERR_clear_error();
    TG_ENSURE(done, err, TG_INTERNAL, "SM4-CTR failed (out of memory?)");
    return TG_OK;
}

static void put_u64(uint64_t value, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static enum tg_code tag_of(const struct suite_message *m, const uint8_t *ciphertext, uint8_t tag[TAG_LEN],
                           struct tg_error *err)
{
    uint8_t lengths[16];
    uint8_t counter[COUNTER_LEN];
    put_u64(m->aad_len, lengths);
    put_u64(m->len, lengths + 8);
    counter_block(m->sequence, counter);
    const struct suite_part parts[] = {
        {lengths, sizeof lengths}, {m->aad, m->aad_len}, {counter, sizeof counter}, {ciphertext, m->len}};
    TG_CLEANUP(secret_cleanup) struct secret *key = suite_expand(&suite_sm4, m->key, LABEL_SM4_MAC);
    TG_ENSURE(key != NULL && suite_mac(&suite_sm4, key, parts, 4, tag), err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    return TG_OK;
}

static enum tg_code seal(const struct suite_message *m, uint8_t *out, struct tg_error *err)
{
    TG_TRY(crypt(m, out, err));
    return tag_of(m, out, out + m->len, err);
}

static enum tg_code open_sealed(const struct suite_message *m, uint8_t *plain, struct tg_error *err)
{
    const uint8_t *sealed = m->in;
    uint8_t tag[TAG_LEN];
    TG_TRY(tag_of(m, sealed, tag, err));
    TG_ENSURE(CRYPTO_memcmp(tag, sealed + m->len, TAG_LEN) == 0, err, TG_UNAUTHENTICATED,
              "sealed data does not open: altered, or sealed under another key");
    return crypt(m, plain, err);
}

const struct suite suite_sm4 = {
    .number = SUITE_SM4_CTR_HMAC_SM3,
    .name = "SM4-CTR-HMAC-SM3",
    .tag_len = TAG_LEN,
    .hash = SUITE_SM3,
    .seal = seal,
    .open = open_sealed,
};
