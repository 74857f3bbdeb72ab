#include "common/gcm.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

enum { PLAIN_MAX = 65536 };

/* Fetched once: a fetch per call costs more than sealing a short message. */
static EVP_CIPHER *aes_256_gcm;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    TG_INVARIANT(aes_256_gcm != NULL);
}

static const EVP_CIPHER *cipher(void)
{
    TG_INVARIANT(pthread_once(&fetched, fetch) == 0);
    return aes_256_gcm;
}

static void free_context(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx); /* wipes the key schedule */
}

enum tg_code gcm_seal(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                      size_t aad_len, const void *plain, size_t len, uint8_t *out, struct tg_error *err)
{
    TG_INVARIANT(secret_len(key) == GCM_KEY_LEN && len <= INT_MAX - GCM_TAG_LEN && aad_len <= INT_MAX);
    TG_CLEANUP(free_context) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    TG_ENSURE(ctx != NULL && EVP_EncryptInit_ex2(ctx, cipher(), secret_view(key), nonce, NULL) == 1 &&
                  (aad_len == 0 || EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_len) == 1) &&
                  EVP_EncryptUpdate(ctx, out, &n, plain, (int)len) == 1 &&
                  EVP_EncryptFinal_ex(ctx, out + len, &n) == 1 &&
                  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_LEN, out + len) == 1,
              err, TG_INTERNAL, "AES-256-GCM failed to encrypt (out of memory?)");
    return TG_OK;
}

/* A pointer for EVP_CIPHER_CTX_ctrl, which only reads the tag but is not declared so. */
static void *unconst(const uint8_t *bytes)
{
    union {
        const uint8_t *in;
        void *out;
    } cast = {.in = bytes};
    return cast.out;
}

static bool decrypt(EVP_CIPHER_CTX *ctx, const void *aad, size_t aad_len, const uint8_t *sealed, size_t len,
                    uint8_t *out)
{
    int n = 0;
    return (aad_len == 0 || EVP_DecryptUpdate(ctx, NULL, &n, aad, (int)aad_len) == 1) &&
           EVP_DecryptUpdate(ctx, out, &n, sealed, (int)len) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_LEN, unconst(sealed + len)) == 1 &&
           EVP_DecryptFinal_ex(ctx, out + len, &n) == 1;
}

enum tg_code gcm_open_plain(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                            size_t aad_len, const void *sealed, size_t sealed_len, uint8_t *out,
                            struct tg_error *err)
{
    TG_INVARIANT(secret_len(key) == GCM_KEY_LEN && aad_len <= INT_MAX);
    TG_ENSURE(sealed_len >= GCM_TAG_LEN && sealed_len <= INT_MAX, err, TG_INVALID_ARGUMENT,
              "sealed data of %zu bytes is too short or too long", sealed_len);
    TG_CLEANUP(free_context) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    TG_ENSURE(ctx != NULL && EVP_DecryptInit_ex2(ctx, cipher(), secret_view(key), nonce, NULL) == 1, err,
              TG_INTERNAL, "AES-256-GCM failed to start (out of memory?)");
    size_t len = sealed_len - GCM_TAG_LEN;
    if (!decrypt(ctx, aad, aad_len, sealed, len, out)) {
        secret_wipe(out, len);
        ERR_clear_error(); /* or the next SSL_get_error would report it */
        return tg_fail(err, TG_UNAUTHENTICATED,
                       "sealed data does not open: altered, or sealed under another key");
    }
    return TG_OK;
}

enum tg_code gcm_open(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                      size_t aad_len, const void *sealed, size_t sealed_len, struct secret **plain,
                      struct tg_error *err)
{
    TG_ENSURE(sealed_len > GCM_TAG_LEN && sealed_len <= PLAIN_MAX + GCM_TAG_LEN, err, TG_INVALID_ARGUMENT,
              "sealed message of %zu bytes is too short or too long", sealed_len);
    TG_CLEANUP(secret_cleanup) struct secret *s = secret_new(sealed_len - GCM_TAG_LEN);
    TG_ENSURE(s != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a secret: raise locked_memory");
    TG_TRY(gcm_open_plain(key, nonce, aad, aad_len, sealed, sealed_len, secret_bytes(s), err));
    *plain = s;
    s = NULL;
    return TG_OK;
}
