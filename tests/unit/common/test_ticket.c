#include "common/ticket.h"
#include "tests/unit/common/hex.h"

static const char key_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
enum { EXPIRES = 2000000000, BEFORE = EXPIRES - 1 };

struct fixture {
    struct secret *key;
    uint8_t bytes[TICKET_LEN];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct bytes id = from_hex("5f1c2d3e4a5b4c6d8e7f00112233ffee");
    struct ticket t = {.expires_s = EXPIRES};
    memcpy(t.key_id, id.data, sizeof t.key_id);
    memcpy(t.centre, "CENTRE01", sizeof t.centre);
    f->key = secret_from_hex(key_hex);
    ticket_encode(&t, f->key, f->bytes);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    secret_free(f->key);
    free(f);
    return 0;
}

static void every_flipped_bit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct ticket t;
    for (unsigned bit = 0; bit < 8 * TICKET_LEN; bit++) {
        f->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum tg_code code = ticket_decode(f->bytes, TICKET_LEN, f->key, BEFORE, &t, NULL);
        assert_int_equal(code, bit < 8 ? TG_INVALID_ARGUMENT : TG_UNAUTHENTICATED);
        f->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(ticket_decode(f->bytes, TICKET_LEN, f->key, BEFORE, &t, NULL), TG_OK);
}

static void other_lengths_are_refused(void **state)
{
    struct fixture *f = *state;
    struct ticket t;
    uint8_t longer[TICKET_LEN + 1] = {0};
    memcpy(longer, f->bytes, TICKET_LEN);
    for (size_t len = 0; len <= TICKET_LEN + 1; len++) {
        enum tg_code want = len == TICKET_LEN ? TG_OK : TG_INVALID_ARGUMENT;
        assert_int_equal(ticket_decode(longer, len, f->key, BEFORE, &t, NULL), want);
        assert_int_equal(ticket_peek(longer, len, &t, NULL), want);
    }
}

static void another_centres_key_is_refused(void **state)
{
    struct fixture *f = *state;
    struct ticket t;
    struct secret *other = secret_random(TICKET_KEY_LEN);
    assert_int_equal(ticket_decode(f->bytes, TICKET_LEN, other, BEFORE, &t, NULL), TG_UNAUTHENTICATED);
    secret_free(other);
}

static void expiry_is_told_apart_from_forgery(void **state)
{
    struct fixture *f = *state;
    struct ticket t = {0};
    struct tg_error err;
    assert_int_equal(ticket_decode(f->bytes, TICKET_LEN, f->key, EXPIRES, &t, &err), TG_FAILED_PRECONDITION);
    assert_int_equal(t.expires_s, EXPIRES);
    assert_memory_equal(t.centre, "CENTRE01", sizeof t.centre);
    f->bytes[TICKET_LEN - 1] ^= 1; /* forged and expired: forged counts */
    assert_int_equal(ticket_decode(f->bytes, TICKET_LEN, f->key, EXPIRES, &t, &err), TG_UNAUTHENTICATED);
}

/* MAC computed with Python's hmac over the same fields. */
static void known_ticket(void **state)
{
    struct fixture *f = *state;
    static const char body[] = "015f1c2d3e4a5b4c6d8e7f00112233ffee43454e54524530310000000077359400";
    assert_hex(f->bytes, 33, body);
    assert_hex(f->bytes + 33, 32, "5b7a3c290cfdb710751cb5510e2ee3fa035985def4494ec5c2505553b1b294e8");
    char id[37];
    struct ticket t;
    assert_int_equal(ticket_peek(f->bytes, TICKET_LEN, &t, NULL), TG_OK);
    ticket_key_id_text(t.key_id, id);
    assert_string_equal(id, "5f1c2d3e-4a5b-4c6d-8e7f-00112233ffee");
}

static void key_ids_are_refused_unless_canonical(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "5f1c2d3e-4a5b-4c6d-8e7f-00112233ffe",
        "5f1c2d3e-4a5b-4c6d-8e7f-00112233ffeeb",
        "5f1c2d3e4-a5b-4c6d-8e7f-00112233ffee",
        "5f1c2d3e-4a5b-4c6d-8e7f+00112233ffee",
        "5F1C2D3E-4A5B-4C6D-8E7F-00112233FFEE",
        "5f1c2d3e-4a5b-4c6d-8e7f-0011-233ffee",
        "5f1c2d3e-4a5b-4c6d-8e7f-0011 233ffee",
    };
    static const uint8_t expected[] = {0x5f, 0x1c, 0x2d, 0x3e, 0x4a, 0x5b, 0x4c, 0x6d,
                                       0x8e, 0x7f, 0x00, 0x11, 0x22, 0x33, 0xff, 0xee};
    uint8_t key_id[TICKET_KEY_ID_LEN];
    struct tg_error err;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(ticket_key_id_from_text(texts[i], key_id, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(ticket_key_id_from_text("5f1c2d3e-4a5b-4c6d-8e7f-00112233ffee", key_id, &err), TG_OK);
    assert_memory_equal(key_id, expected, sizeof expected);
}

static void text_is_refused_unless_canonical(void **state)
{
    struct fixture *f = *state;
    char text[TICKET_TEXT_LEN + 3];
    uint8_t out[TICKET_LEN];
    ticket_to_text(f->bytes, text);
    assert_int_equal(strlen(text), TICKET_TEXT_LEN);
    assert_int_equal(ticket_from_text(text, out, NULL), TG_OK);
    assert_memory_equal(out, f->bytes, TICKET_LEN);
    for (size_t i = 0; i < TICKET_TEXT_LEN; i++) {
        char kept = text[i];
        for (const char *bad = " \n+/=.,\x80"; *bad != '\0'; bad++) {
            if (*bad == kept)
                continue;
            text[i] = *bad;
            assert_int_equal(ticket_from_text(text, out, NULL), TG_INVALID_ARGUMENT);
        }
        text[i] = '\0';
        assert_int_equal(ticket_from_text(text, out, NULL), TG_INVALID_ARGUMENT);
        text[i] = kept;
    }
    memcpy(text + TICKET_TEXT_LEN, "=", 2);
    assert_int_equal(ticket_from_text(text, out, NULL), TG_INVALID_ARGUMENT);
}

/* 65 bytes leave two unused bits in the last character: only zeros are canonical. */
static void stray_low_bits_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[TICKET_TEXT_LEN + 1];
    uint8_t out[TICKET_LEN];
    unsigned accepted = 0;
    ticket_to_text(f->bytes, text);
    for (const char *c = alphabet; *c != '\0'; c++) {
        text[TICKET_TEXT_LEN - 1] = *c;
        accepted += ticket_from_text(text, out, NULL) == TG_OK;
    }
    assert_int_equal(accepted, 16);
}

static void key_ids_are_random_version_4_uuids(void **state)
{
    (void)state;
    uint8_t a[TICKET_KEY_ID_LEN];
    uint8_t b[TICKET_KEY_ID_LEN];
    for (int i = 0; i < 100; i++) {
        ticket_new_key_id(a);
        ticket_new_key_id(b);
        assert_memory_not_equal(a, b, sizeof a);
        assert_int_equal(a[6] >> 4, 4);
        assert_int_equal(a[8] >> 6, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_lengths_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_centres_key_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(expiry_is_told_apart_from_forgery, setup, teardown),
        cmocka_unit_test_setup_teardown(known_ticket, setup, teardown),
        cmocka_unit_test(key_ids_are_refused_unless_canonical),
        cmocka_unit_test_setup_teardown(text_is_refused_unless_canonical, setup, teardown),
        cmocka_unit_test_setup_teardown(stray_low_bits_are_refused, setup, teardown),
        cmocka_unit_test(key_ids_are_random_version_4_uuids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
