#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdio.h>

#include "common/protocol/suite.h"
#include "tests/unit/common/hex.h"

static const char key_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char text[] = "login info of nobody";
enum { TEXT_LEN = sizeof text - 1 };
static const uint64_t sequence = 0x0102030405060708;
static const unsigned numbers[] = {SUITE_AES256_GCM_SHA256, SUITE_SM4_CTR_HMAC_SM3};

struct sealed {
    uint8_t bytes[TEXT_LEN + SUITE_TAG_MAX];
    size_t len;
};

static struct sealed seal_text(const struct suite *suite)
{
    struct sealed out = {.len = TEXT_LEN + suite_tag_len(suite)};
    struct secret *key = secret_from_hex(key_hex);
    assert_int_equal(suite_seal(suite, key, sequence, "aad", 3, text, TEXT_LEN, out.bytes, NULL), TG_OK);
    secret_free(key);
    return out;
}

static enum tg_code open_text(const struct suite *suite, uint64_t seq, const char *aad, const void *sealed,
                              size_t len)
{
    struct secret *key = secret_from_hex(key_hex);
    struct secret *plain = NULL;
    struct tg_error err = {0};
    enum tg_code code = suite_open(suite, key, seq, aad, strlen(aad), sealed, len, &plain, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(code == TG_OK, plain != NULL);
    if (plain != NULL) {
        assert_int_equal(secret_len(plain), TEXT_LEN);
        assert_memory_equal(secret_view(plain), text, TEXT_LEN);
    }
    secret_free(plain);
    secret_free(key);
    return code;
}

static void altered_messages_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct suite *suite = suite_find(numbers[i]);
        struct sealed s = seal_text(suite);
        assert_int_equal(open_text(suite, sequence, "aad", s.bytes, s.len), TG_OK);
        assert_int_equal(open_text(suite, sequence, "aae", s.bytes, s.len), TG_UNAUTHENTICATED);
        assert_int_equal(open_text(suite, sequence, "", s.bytes, s.len), TG_UNAUTHENTICATED);
        assert_int_equal(open_text(suite, sequence + 1, "aad", s.bytes, s.len), TG_UNAUTHENTICATED);
        for (size_t bit = 0; bit < 8 * s.len; bit++) {
            s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(open_text(suite, sequence, "aad", s.bytes, s.len), TG_UNAUTHENTICATED);
            s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void cut_and_empty_messages_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct suite *suite = suite_find(numbers[i]);
        struct sealed s = seal_text(suite);
        size_t tag = suite_tag_len(suite);
        for (size_t len = 0; len < s.len; len++)
            assert_int_equal(open_text(suite, sequence, "aad", s.bytes, len),
                             len > tag ? TG_UNAUTHENTICATED : TG_INVALID_ARGUMENT);
    }
}

static void oversized_messages_are_refused(void **state)
{
    (void)state;
    size_t len = SUITE_PLAIN_MAX + 1;
    uint8_t *big = calloc(1, len + SUITE_TAG_MAX);
    struct secret *key = secret_from_hex(key_hex);
    struct secret *plain = NULL;
    for (int i = 0; i < 2; i++) {
        const struct suite *suite = suite_find(numbers[i]);
        size_t tag = suite_tag_len(suite);
        assert_int_equal(suite_seal(suite, key, 0, NULL, 0, big, len, big, NULL), TG_INVALID_ARGUMENT);
        assert_int_equal(suite_seal(suite, key, 0, NULL, 0, big, 0, big, NULL), TG_INVALID_ARGUMENT);
        assert_int_equal(suite_open(suite, key, 0, NULL, 0, big, len + tag, &plain, NULL),
                         TG_INVALID_ARGUMENT);
        assert_int_equal(suite_open(suite, key, 0, NULL, 0, big, len + tag - 1, &plain, NULL),
                         TG_UNAUTHENTICATED);
    }
    secret_free(key);
    free(big);
}

static void another_key_or_suite_is_refused(void **state)
{
    (void)state;
    struct secret *other = secret_random(SUITE_KEY_LEN);
    struct secret *plain = NULL;
    for (int i = 0; i < 2; i++) {
        const struct suite *suite = suite_find(numbers[i]);
        struct sealed s = seal_text(suite);
        assert_int_equal(open_text(suite_find(numbers[1 - i]), sequence, "aad", s.bytes, s.len),
                         TG_UNAUTHENTICATED);
        assert_int_equal(suite_open(suite, other, sequence, "aad", 3, s.bytes, s.len, &plain, NULL),
                         TG_UNAUTHENTICATED);
    }
    secret_free(other);
}

/* The tag covers where the aad ends and the ciphertext begins: moving that border must not go unnoticed. */
static void the_border_between_aad_and_text_counts(void **state)
{
    (void)state;
    struct secret *key = secret_from_hex(key_hex);
    for (int i = 0; i < 2; i++) {
        const struct suite *suite = suite_find(numbers[i]);
        uint8_t sealed[64];
        struct secret *plain = NULL;
        assert_int_equal(suite_seal(suite, key, 0, "abc", 3, "12345678", 8, sealed, NULL), TG_OK);
        uint8_t aad[4] = {'a', 'b', 'c', sealed[0]};
        assert_int_equal(
            suite_open(suite, key, 0, aad, 4, sealed + 1, 7 + suite_tag_len(suite), &plain, NULL),
            TG_UNAUTHENTICATED);
    }
    secret_free(key);
}

static void unknown_suites_are_not_found(void **state)
{
    (void)state;
    assert_null(suite_find(0));
    assert_null(suite_find(3));
    assert_null(suite_find(0xffffffff));
    assert_null(suite_by_name(""));
    assert_null(suite_by_name("AES256-GCM-SHA25"));
    assert_ptr_equal(suite_by_name("AES256-GCM-SHA256"), suite_find(1));
    assert_ptr_equal(suite_by_name("SM4-CTR-HMAC-SM3"), suite_find(2));
}

/* FIPS 180-2 B.1 and GB/T 32905 A.1. */
static void known_hashes(void **state)
{
    (void)state;
    uint8_t out[SUITE_HASH_LEN];
    const struct suite_part abc[] = {{"a", 1}, {NULL, 0}, {"bc", 2}};
    suite_hash(suite_find(1), abc, 3, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    suite_hash(suite_find(2), abc, 3, out);
    assert_hex(out, 32, "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
    sm3("abc", 3, out);
    assert_hex(out, 32, "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
}

/* RFC 4231 4.3, and RFC 5869 A.1 from its PRK on. */
static void known_hmac_and_hkdf(void **state)
{
    (void)state;
    struct secret *jefe = secret_copy("Jefe", 4);
    struct secret *mac =
        suite_hmac(suite_find(1), jefe, &(struct suite_part){"what do ya want for nothing?", 28}, 1);
    assert_hex(secret_view(mac), 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    struct secret *prk = secret_from_hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    struct secret *okm = suite_expand(suite_find(1), prk, "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9");
    assert_hex(secret_view(okm), 32, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    secret_free(jefe);
    secret_free(mac);
    secret_free(prk);
    secret_free(okm);
}

static void expand_is_openssls_hkdf(void **state)
{
    (void)state;
    static const char *const hashes[] = {"SHA256", "SM3"};
    for (int i = 0; i < 2; i++) {
        struct bytes key = from_hex(key_hex);
        char hash[8];
        char label[] = "a label";
        snprintf(hash, sizeof hash, "%s", hashes[i]);
        int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
        OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
                               OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data, key.len),
                               OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, label, strlen(label)),
                               OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode), OSSL_PARAM_END};
        EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(hkdf);
        uint8_t want[32];
        assert_int_equal(EVP_KDF_derive(ctx, want, sizeof want, params), 1);
        struct secret *prk = secret_from_hex(key_hex);
        struct secret *got = suite_expand(suite_find(numbers[i]), prk, label);
        assert_memory_equal(secret_view(got), want, sizeof want);
        secret_free(prk);
        secret_free(got);
        EVP_KDF_CTX_free(ctx);
        EVP_KDF_free(hkdf);
    }
}

/* The Galois/Counter Mode paper's test case 14: all zeros, sequence 0. */
static void known_aes_gcm_message(void **state)
{
    (void)state;
    struct secret *zeros = secret_new(32);
    uint8_t plain[16] = {0};
    uint8_t sealed[32];
    assert_int_equal(suite_seal(suite_find(1), zeros, 0, NULL, 0, plain, sizeof plain, sealed, NULL), TG_OK);
    assert_hex(sealed, sizeof sealed, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    secret_free(zeros);
}

/* From Python's hmac with SM3 and `openssl enc -sm4-ctr`, put together by the words of docs/protocol.md. */
static void known_sm4_message(void **state)
{
    (void)state;
    struct sealed s = seal_text(suite_find(2));
    assert_hex(s.bytes, s.len,
               "c4c88cc74ac85fb4a70f4737f73e0acf1a85a594"
               "85260b8fb354fb14ef136686f28fcb046a58c164491ade9a0541da59c21de716");
}

/* GB/T 32907 A.1: the block cipher underneath is the standard's. */
static void known_sm4_block(void **state)
{
    (void)state;
    struct bytes block = from_hex("0123456789abcdeffedcba9876543210");
    uint8_t out[16];
    int len = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_sm4_ecb(), NULL, block.data, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &len, block.data, 16), 1);
    assert_hex(out, 16, "681edf34d206965e86b3e94f536e4246");
    EVP_CIPHER_CTX_free(ctx);
}

static void *hammer(void *unused)
{
    for (int i = 0; i < 200; i++) {
        const struct suite *suite = suite_find(numbers[i % 2]);
        struct sealed s = seal_text(suite);
        assert_int_equal(open_text(suite, sequence, "aad", s.bytes, s.len), TG_OK);
    }
    return unused;
}

static void threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_disturb_each_other), /* first: it races for the fetch, too */
        cmocka_unit_test(altered_messages_are_refused),
        cmocka_unit_test(cut_and_empty_messages_are_refused),
        cmocka_unit_test(oversized_messages_are_refused),
        cmocka_unit_test(another_key_or_suite_is_refused),
        cmocka_unit_test(the_border_between_aad_and_text_counts),
        cmocka_unit_test(unknown_suites_are_not_found),
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(known_hmac_and_hkdf),
        cmocka_unit_test(expand_is_openssls_hkdf),
        cmocka_unit_test(known_aes_gcm_message),
        cmocka_unit_test(known_sm4_message),
        cmocka_unit_test(known_sm4_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
