#include "common/protocol/suite.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "common/protocol/suite_internal.h"

/* Fetched once per process: looking algorithms up by name costs more than a short HMAC. */
static struct {
    EVP_MD *md;
    EVP_MAC_CTX *hmac; /* without a key; copied for each use */
} hashes[SUITE_HASHES];
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static const char *const hash_names[SUITE_HASHES] = {[SUITE_SHA256] = "SHA256", [SUITE_SM3] = "SM3"};

static EVP_MAC_CTX *hmac_template(EVP_MAC *hmac, const char *hash)
{
    char name[16];
    strncpy(name, hash, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                 OSSL_PARAM_END};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
    TG_INVARIANT(ctx != NULL && EVP_MAC_CTX_set_params(ctx, params) == 1);
    return ctx;
}

static void fetch(void)
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    TG_INVARIANT(hmac != NULL);
    for (int i = 0; i < SUITE_HASHES; i++) {
        hashes[i].md = EVP_MD_fetch(NULL, hash_names[i], NULL);
        TG_INVARIANT(hashes[i].md != NULL);
        hashes[i].hmac = hmac_template(hmac, hash_names[i]);
    }
    EVP_MAC_free(hmac);
}

static void ensure_fetched(void)
{
    TG_INVARIANT(pthread_once(&fetched, fetch) == 0);
}

static const struct suite *const suites[] = {&suite_aes_gcm, &suite_sm4};
enum { SUITE_COUNT = sizeof suites / sizeof suites[0] };

const struct suite *suite_find(unsigned id)
{
    for (int i = 0; i < SUITE_COUNT; i++)
        if (suites[i]->number == id)
            return suites[i];
    return NULL;
}

const struct suite *suite_by_name(const char *name)
{
    for (int i = 0; i < SUITE_COUNT; i++)
        if (strcmp(suites[i]->name, name) == 0)
            return suites[i];
    return NULL;
}

unsigned suite_number(const struct suite *suite)
{
    return suite->number;
}

const char *suite_name(const struct suite *suite)
{
    return suite->name;
}

size_t suite_tag_len(const struct suite *suite)
{
    return suite->tag_len;
}

const EVP_MD *suite_md(const struct suite *suite)
{
    ensure_fetched();
    return hashes[suite->hash].md;
}

static void hash_parts(const EVP_MD *md, const struct suite_part *parts, size_t count, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;
    for (size_t i = 0; done && i < count; i++)
        done = parts[i].data == NULL || EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
    done = done && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    TG_INVARIANT(done); /* only if memory is out */
}

void suite_hash(const struct suite *suite, const struct suite_part *parts, size_t count,
                uint8_t out[SUITE_HASH_LEN])
{
    hash_parts(suite_md(suite), parts, count, out);
}

void sm3(const void *data, size_t len, uint8_t out[SM3_LEN])
{
    suite_hash(&suite_sm4, &(struct suite_part){data, len}, 1, out);
}

bool suite_mac(const struct suite *suite, const struct secret *key, const struct suite_part *parts,
               size_t count, uint8_t out[SUITE_HASH_LEN])
{
    ensure_fetched();
    size_t out_len = 0;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(hashes[suite->hash].hmac);
    bool done = ctx != NULL && EVP_MAC_init(ctx, secret_view(key), secret_len(key), NULL) == 1;
    for (size_t i = 0; done && i < count; i++)
        done = parts[i].data == NULL || EVP_MAC_update(ctx, parts[i].data, parts[i].len) == 1;
    done = done && EVP_MAC_final(ctx, out, &out_len, SUITE_HASH_LEN) == 1 && out_len == SUITE_HASH_LEN;
    EVP_MAC_CTX_free(ctx); /* wipes the key */
    if (!done)
        ERR_clear_error(); /* or the next SSL_get_error would report it */
    return done;
}

struct secret *suite_hmac(const struct suite *suite, const struct secret *key, const struct suite_part *parts,
                          size_t count)
{
    struct secret *out = secret_new(SUITE_HASH_LEN);
    if (out != NULL && !suite_mac(suite, key, parts, count, secret_bytes(out))) {
        secret_free(out);
        return NULL;
    }
    return out;
}

/* One block is all we ever need: T(1) = HMAC-H(PRK, info ‖ 0x01) (RFC 5869 2.3). */
struct secret *suite_expand(const struct suite *suite, const struct secret *key, const char *label)
{
    static const uint8_t first = 1;
    const struct suite_part parts[] = {{label, strlen(label)}, {&first, 1}};
    return suite_hmac(suite, key, parts, 2);
}

void suite_nonce(uint64_t sequence, uint8_t out[12])
{
    memset(out, 0, 4);
    for (int i = 0; i < 8; i++)
        out[4 + i] = (uint8_t)(sequence >> (56 - 8 * i));
}

enum tg_code suite_seal(const struct suite *suite, const struct secret *key, uint64_t sequence,
                        const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out,
                        struct tg_error *err)
{
    TG_ENSURE(len > 0 && len <= SUITE_PLAIN_MAX, err, TG_INVALID_ARGUMENT,
              "a message of %zu bytes cannot be sealed: it must have 1 to %d", len, SUITE_PLAIN_MAX);
    return suite->seal(&(struct suite_message){key, sequence, aad, aad_len, plain, len}, out, err);
}

enum tg_code suite_open(const struct suite *suite, const struct secret *key, uint64_t sequence,
                        const void *aad, size_t aad_len, const void *sealed, size_t sealed_len,
                        struct secret **plain, struct tg_error *err)
{
    TG_ENSURE(sealed_len > suite->tag_len && sealed_len - suite->tag_len <= SUITE_PLAIN_MAX, err,
              TG_INVALID_ARGUMENT, "a sealed message cannot have %zu bytes", sealed_len);
    size_t len = sealed_len - suite->tag_len;
    TG_CLEANUP(secret_cleanup) struct secret *s = secret_new(len);
    TG_ENSURE(s != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a secret: raise locked_memory");
    TG_TRY(
        suite->open(&(struct suite_message){key, sequence, aad, aad_len, sealed, len}, secret_bytes(s), err));
    *plain = s;
    s = NULL;
    return TG_OK;
}
