#include "scratch.h"

static const struct at_rest_name name_a = {AT_REST_QUANTUM_KEY, "0123456789abcdef", 16};
static const uint8_t key[AT_REST_KEY_LEN] = "thirty-two bytes of quantum key";

static struct keyring *open_ring(struct scratch *s)
{
    struct keyring *ring = NULL;
    struct tg_error err;
    scratch_open(s);
    must(keyring_open(s->kek, &ring, &err), &err);
    return ring;
}

static void refused(const struct keyring *ring, const struct at_rest_name *name, const struct at_rest *in)
{
    struct secret *out = NULL;
    struct tg_error err = {0};
    assert_int_equal(at_rest_open(ring, name, in, &out, &err), TG_DATA_LOSS);
    assert_null(out);
    assert_non_null(strstr(err.text, "database"));
}

static void each_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest sealed;
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    for (size_t i = 0; i < sizeof sealed.wrapped; i++) {
        sealed.wrapped[i] ^= 1;
        refused(ring, &name_a, &sealed);
        sealed.wrapped[i] ^= 1;
    }
    for (size_t i = 0; i < sizeof sealed.sealed; i++) {
        sealed.sealed[i] ^= 0x80;
        refused(ring, &name_a, &sealed);
        sealed.sealed[i] ^= 0x80;
    }
    keyring_close(ring);
    scratch_close(&s);
}

static void a_key_opens_under_its_own_name_only(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest sealed;
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    refused(ring, &(struct at_rest_name){AT_REST_QUANTUM_KEY, "0123456789abcdeg", 16}, &sealed);
    refused(ring, &(struct at_rest_name){AT_REST_QUANTUM_KEY, "0123456789abcde", 15}, &sealed);
    refused(ring, &(struct at_rest_name){AT_REST_QKUD_KEY, "0123456789abcdef", 16}, &sealed);
    keyring_close(ring);
    scratch_close(&s);
}

static void a_row_mixed_from_two_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest one;
    struct at_rest two;
    must(at_rest_seal(ring, &name_a, key, &one, NULL), &(struct tg_error){0});
    must(at_rest_seal(ring, &name_a, key, &two, NULL), &(struct tg_error){0});
    memcpy(two.wrapped, one.wrapped, sizeof two.wrapped);
    refused(ring, &name_a, &two);
    keyring_close(ring);
    scratch_close(&s);
}

static void another_kek_or_none_does_not_open_it(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest sealed;
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    sealed.kek = 2;
    refused(ring, &name_a, &sealed);
    sealed.kek = 1;
    keyring_close(ring);

    struct keyring *other = NULL;
    must(keyring_open(s.ticket_key, &other, NULL), &(struct tg_error){0});
    refused(other, &name_a, &sealed);
    keyring_close(other);
    scratch_close(&s);
}

static void a_kek_that_others_can_read_or_of_another_length_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = NULL;
    struct tg_error err;
    scratch_open(&s);
    assert_int_equal(chmod(s.kek, 0440), 0);
    assert_int_equal(keyring_open(s.kek, &ring, &err), TG_PERMISSION_DENIED);
    assert_int_equal(chmod(s.kek, 0600), 0);
    assert_int_equal(truncate(s.kek, 31), 0);
    assert_int_equal(keyring_open(s.kek, &ring, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(unlink(s.kek), 0);
    assert_int_equal(keyring_open(s.kek, &ring, &err), TG_NOT_FOUND);
    assert_non_null(strstr(err.text, s.kek));
    scratch_close(&s);
}

static void what_was_sealed_opens_and_no_two_are_alike(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest one;
    struct at_rest two;
    struct secret *out = NULL;
    must(at_rest_seal(ring, &name_a, key, &one, NULL), &(struct tg_error){0});
    must(at_rest_seal(ring, &name_a, key, &two, NULL), &(struct tg_error){0});
    assert_memory_not_equal(one.wrapped, two.wrapped, AT_REST_SALT_LEN);
    assert_memory_not_equal(one.sealed, two.sealed, sizeof one.sealed);
    assert_null(memmem(&one, sizeof one, key, 8));
    must(at_rest_open(ring, &name_a, &one, &out, NULL), &(struct tg_error){0});
    assert_int_equal(secret_len(out), sizeof key);
    assert_memory_equal(secret_view(out), key, sizeof key);
    secret_free(out);
    keyring_close(ring);
    scratch_close(&s);
}

static void the_check_value_tells_keks_apart_and_is_not_the_kek(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct keyring *other = NULL;
    uint8_t a[KEK_CHECK_LEN];
    uint8_t b[KEK_CHECK_LEN];
    must(keyring_open(s.ticket_key, &other, NULL), &(struct tg_error){0});
    must(keyring_check_value(ring, 1, a, NULL), &(struct tg_error){0});
    must(keyring_check_value(other, 1, b, NULL), &(struct tg_error){0});
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, secret_view(keyring_find(ring, 1)), sizeof a);
    must(keyring_check_value(ring, 1, b, NULL), &(struct tg_error){0});
    assert_memory_equal(a, b, sizeof a);
    keyring_close(other);
    keyring_close(ring);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flipped_bit_is_noticed),
        cmocka_unit_test(a_key_opens_under_its_own_name_only),
        cmocka_unit_test(a_row_mixed_from_two_is_refused),
        cmocka_unit_test(another_kek_or_none_does_not_open_it),
        cmocka_unit_test(a_kek_that_others_can_read_or_of_another_length_is_refused),
        cmocka_unit_test(what_was_sealed_opens_and_no_two_are_alike),
        cmocka_unit_test(the_check_value_tells_keks_apart_and_is_not_the_kek),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
