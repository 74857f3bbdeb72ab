#include "common/gcm.h"
#include "tests/unit/common/hex.h"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16. */
static const char key_hex[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
static const char nonce_hex[] = "cafebabefacedbaddecaf888";
static const char aad_hex[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
static const char plain_hex[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
static const char sealed_hex[] = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                                 "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                                 "76fc6ece0f4e1768cddf8853bb2d551b";

static enum tg_code open_one(const char *key_text, const struct bytes *nonce, const struct bytes *aad,
                             const struct bytes *sealed, struct secret **plain)
{
    struct secret *key = secret_from_hex(key_text);
    enum tg_code code =
        gcm_open(key, nonce->data, aad->data, aad->len, sealed->data, sealed->len, plain, NULL);
    secret_free(key);
    return code;
}

static void anything_altered_is_refused(void **state)
{
    (void)state;
    struct bytes parts[] = {from_hex(nonce_hex), from_hex(aad_hex), from_hex(sealed_hex)};
    struct secret *plain = NULL;
    for (int i = 0; i < 3; i++)
        for (size_t at = 0; at < parts[i].len; at++) {
            parts[i].data[at] ^= 0x10;
            assert_int_equal(open_one(key_hex, &parts[0], &parts[1], &parts[2], &plain), TG_UNAUTHENTICATED);
            parts[i].data[at] ^= 0x10;
        }
    const char *zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    assert_int_equal(open_one(zeros, &parts[0], &parts[1], &parts[2], &plain), TG_UNAUTHENTICATED);
    parts[1].len--;
    assert_int_equal(open_one(key_hex, &parts[0], &parts[1], &parts[2], &plain), TG_UNAUTHENTICATED);
    assert_null(plain);
}

static void anything_cut_is_refused(void **state)
{
    (void)state;
    struct bytes nonce = from_hex(nonce_hex);
    struct bytes aad = from_hex(aad_hex);
    struct bytes sealed = from_hex(sealed_hex);
    struct secret *plain = NULL;
    while (sealed.len-- > 0) {
        enum tg_code want = sealed.len > GCM_TAG_LEN ? TG_UNAUTHENTICATED : TG_INVALID_ARGUMENT;
        assert_int_equal(open_one(key_hex, &nonce, &aad, &sealed, &plain), want);
    }
    assert_null(plain);
}

static void a_failed_opening_leaves_nothing(void **state)
{
    (void)state;
    struct bytes nonce = from_hex(nonce_hex);
    struct bytes sealed = from_hex(sealed_hex);
    struct secret *key = secret_from_hex(key_hex);
    uint8_t out[60];
    const uint8_t zeros[60] = {0};
    memset(out, 0xaa, sizeof out);
    assert_int_equal(gcm_open_plain(key, nonce.data, NULL, 0, sealed.data, sealed.len, out, NULL),
                     TG_UNAUTHENTICATED);
    assert_memory_equal(out, zeros, sizeof out);
    secret_free(key);
}

static void known_answer(void **state)
{
    (void)state;
    struct bytes nonce = from_hex(nonce_hex);
    struct bytes aad = from_hex(aad_hex);
    struct bytes plain = from_hex(plain_hex);
    struct secret *key = secret_from_hex(key_hex);
    struct bytes sealed = {.len = plain.len + GCM_TAG_LEN};
    assert_int_equal(gcm_seal(key, nonce.data, aad.data, aad.len, plain.data, plain.len, sealed.data, NULL),
                     TG_OK);
    assert_hex(sealed.data, sealed.len, sealed_hex);
    struct secret *opened = NULL;
    assert_int_equal(open_one(key_hex, &nonce, &aad, &sealed, &opened), TG_OK);
    assert_hex(secret_view(opened), secret_len(opened), plain_hex);
    secret_free(opened);
    secret_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_altered_is_refused),
        cmocka_unit_test(anything_cut_is_refused),
        cmocka_unit_test(a_failed_opening_leaves_nothing),
        cmocka_unit_test(known_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
