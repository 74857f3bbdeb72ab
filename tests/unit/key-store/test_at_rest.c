#include "scratch.h"

static const struct at_rest_name name_a = {AT_REST_QUANTUM_KEY, "0123456789abcdef", 16};
static const uint8_t key[AT_REST_KEY_LEN] = "thirty-two bytes of quantum key";

static struct keyring *open_ring(struct scratch *s)
{
    scratch_open(s);
    return ring_of(s->kek);
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

static void another_kek_does_not_open_it(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest sealed;
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    keyring_close(ring);
    ring = ring_of(s.ticket_key);
    refused(ring, &name_a, &sealed);
    keyring_close(ring);
    scratch_close(&s);
}

/* Another key store on the same database may have it: nothing is lost. */
static void a_kek_that_is_not_in_the_ring_is_named(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest sealed;
    struct secret *out = NULL;
    struct tg_error err = {0};
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    sealed.kek = 2;
    assert_int_equal(at_rest_open(ring, &name_a, &sealed, &out, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "KEK 2"));
    assert_null(out);
    keyring_close(ring);
    scratch_close(&s);
}

/* ---- rewrapping ---- */

static struct keyring *ring_of_two(struct scratch *s)
{
    struct kek_config keks[] = {{.id = 1, .file = s->kek}, {.id = 7, .file = s->ticket_key}};
    struct keyring *ring = NULL;
    struct tg_error err;
    must(keyring_open(&(struct config_list){keks, 2}, &ring, &err), &err);
    return ring;
}

static void a_rewrapped_key_opens_under_the_newest_alone(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *old = open_ring(&s);
    struct keyring *both = ring_of_two(&s);
    struct at_rest before;
    struct at_rest after;
    struct secret *out = NULL;
    must(at_rest_seal(old, &name_a, key, &before, NULL), &(struct tg_error){0});
    must(at_rest_rewrap(both, &name_a, &before, &after, NULL), &(struct tg_error){0});
    assert_int_equal(after.kek, 7);
    assert_memory_not_equal(after.wrapped, before.wrapped, AT_REST_SALT_LEN);
    assert_memory_equal(after.sealed, before.sealed, sizeof after.sealed); /* the key itself was left alone */
    must(at_rest_open(both, &name_a, &after, &out, NULL), &(struct tg_error){0});
    assert_memory_equal(secret_view(out), key, sizeof key);
    after.kek = 1;
    refused(both, &name_a, &after);
    secret_free(out);
    keyring_close(both);
    keyring_close(old);
    scratch_close(&s);
}

static void a_row_that_was_altered_is_not_rewrapped(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct at_rest before;
    struct at_rest after;
    struct tg_error err;
    must(at_rest_seal(ring, &name_a, key, &before, NULL), &(struct tg_error){0});
    before.wrapped[AT_REST_SALT_LEN] ^= 1;
    assert_int_equal(at_rest_rewrap(ring, &name_a, &before, &after, &err), TG_DATA_LOSS);
    before.wrapped[AT_REST_SALT_LEN] ^= 1;
    const struct at_rest_name other = {AT_REST_QKUD_KEY, name_a.id, name_a.len};
    assert_int_equal(at_rest_rewrap(ring, &other, &before, &after, &err), TG_DATA_LOSS);
    keyring_close(ring);
    scratch_close(&s);
}

/* A newer KEK that comes between sealing and storing. */
static void what_waits_to_be_stored_is_renewed_when_a_kek_has_come(void **state)
{
    (void)state;
    struct scratch s;
    struct keyring *ring = open_ring(&s);
    struct kek_config second = {.id = 2, .file = s.ticket_key};
    struct keyring *fresh = NULL;
    struct at_rest sealed;
    struct secret *out = NULL;
    must(at_rest_seal(ring, &name_a, key, &sealed, NULL), &(struct tg_error){0});
    const struct at_rest before = sealed;
    must(at_rest_renew(ring, &name_a, &sealed, NULL), &(struct tg_error){0});
    assert_memory_equal(&sealed, &before, sizeof sealed);
    must(keyring_open(&(struct config_list){&second, 1}, &fresh, NULL), &(struct tg_error){0});
    must(keyring_merge(ring, fresh, NULL), &(struct tg_error){0});
    must(at_rest_renew(ring, &name_a, &sealed, NULL), &(struct tg_error){0});
    assert_int_equal(sealed.kek, 2);
    must(at_rest_open(ring, &name_a, &sealed, &out, NULL), &(struct tg_error){0});
    assert_memory_equal(secret_view(out), key, sizeof key);
    secret_free(out);
    keyring_close(ring);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flipped_bit_is_noticed),
        cmocka_unit_test(a_key_opens_under_its_own_name_only),
        cmocka_unit_test(a_row_mixed_from_two_is_refused),
        cmocka_unit_test(another_kek_does_not_open_it),
        cmocka_unit_test(a_kek_that_is_not_in_the_ring_is_named),
        cmocka_unit_test(a_rewrapped_key_opens_under_the_newest_alone),
        cmocka_unit_test(a_row_that_was_altered_is_not_rewrapped),
        cmocka_unit_test(what_waits_to_be_stored_is_renewed_when_a_kek_has_come),
        cmocka_unit_test(what_was_sealed_opens_and_no_two_are_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
