#include "common/protocol/frame.h"
#include "common/protocol/labels.h"
#include "common/protocol/schedule.h"
#include "tests/unit/common/hex.h"

static const char root_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const uint8_t hello[] = {1, 0, 0, 2, 0, 0, 0, 0, 0xaa, 0xbb};
static const uint8_t identity[] = {2, 0, 0, 1, 0, 0, 0, 0, 0xcc};
static const uint8_t authenticate[] = {3, 0, 0, 1, 0, 0, 0, 0, 0xdd};

static struct schedule derive(unsigned number)
{
    struct secret *root = secret_from_hex(root_hex);
    struct schedule s;
    assert_int_equal(schedule_derive(suite_find(number), root, &s, NULL), TG_OK);
    secret_free(root);
    return s;
}

static void other_proofs_are_refused(void **state)
{
    (void)state;
    for (unsigned number = 1; number <= 2; number++) {
        const struct suite *suite = suite_find(number);
        struct schedule s = derive(number);
        uint8_t th[SUITE_HASH_LEN] = {1, 2, 3};
        uint8_t proof[SUITE_HASH_LEN + 1] = {0};
        assert_int_equal(schedule_proof(suite, &s, th, proof, NULL), TG_OK);
        assert_int_equal(schedule_check_proof(suite, &s, th, proof, SUITE_HASH_LEN, NULL), TG_OK);
        for (size_t len = 0; len <= SUITE_HASH_LEN + 1; len++)
            if (len != SUITE_HASH_LEN)
                assert_int_equal(schedule_check_proof(suite, &s, th, proof, len, NULL), TG_UNAUTHENTICATED);
        assert_int_equal(schedule_check_proof(suite, &s, th, NULL, 0, NULL), TG_UNAUTHENTICATED);
        for (unsigned bit = 0; bit < 8 * SUITE_HASH_LEN; bit++) {
            proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(schedule_check_proof(suite, &s, th, proof, SUITE_HASH_LEN, NULL),
                             TG_UNAUTHENTICATED);
            proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        th[31] ^= 1;
        assert_int_equal(schedule_check_proof(suite, &s, th, proof, SUITE_HASH_LEN, NULL),
                         TG_UNAUTHENTICATED);
        schedule_wipe(&s);
        assert_null(s.psk);
        schedule_wipe(&s);
    }
}

static void a_proof_in_another_suite_is_refused(void **state)
{
    (void)state;
    struct schedule a = derive(1);
    struct schedule b = derive(2);
    uint8_t th[SUITE_HASH_LEN] = {0};
    uint8_t proof[SUITE_HASH_LEN];
    assert_int_equal(schedule_proof(suite_find(1), &a, th, proof, NULL), TG_OK);
    assert_int_equal(schedule_check_proof(suite_find(2), &b, th, proof, sizeof proof, NULL),
                     TG_UNAUTHENTICATED);
    schedule_wipe(&a);
    schedule_wipe(&b);
}

static void keys_differ_from_each_other_and_from_the_root(void **state)
{
    (void)state;
    for (unsigned number = 1; number <= 2; number++) {
        struct schedule s = derive(number);
        struct secret *root = secret_from_hex(root_hex);
        const struct secret *keys[] = {root, s.random, s.confirm, s.login, s.psk};
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < i; j++)
                assert_false(secret_equal(keys[i], keys[j]));
        secret_free(root);
        schedule_wipe(&s);
    }
}

/* The hash is the same whether frames came before the choice or after it, and asking does not change it. */
static void transcript_hashes_frames_in_order(void **state)
{
    (void)state;
    for (unsigned number = 1; number <= 2; number++) {
        const struct suite *suite = suite_find(number);
        const struct suite_part parts[] = {{hello, sizeof hello},
                                           {identity, sizeof identity},
                                           {authenticate, sizeof authenticate},
                                           {"ticket", 6}};
        uint8_t want[SUITE_HASH_LEN];
        uint8_t got[SUITE_HASH_LEN];
        struct transcript *t = transcript_new();
        transcript_add(t, hello, sizeof hello);
        transcript_add(t, identity, sizeof identity);
        transcript_choose(t, suite);
        suite_hash(suite, parts, 2, want);
        transcript_hash(t, NULL, 0, got);
        assert_memory_equal(got, want, sizeof want);
        const struct suite_part with_ticket[] = {parts[0], parts[1], parts[3]};
        suite_hash(suite, with_ticket, 3, want);
        transcript_hash(t, "ticket", 6, got);
        assert_memory_equal(got, want, sizeof want);
        transcript_add(t, authenticate, sizeof authenticate);
        suite_hash(suite, parts, 3, want);
        for (int again = 0; again < 2; again++) {
            transcript_hash(t, NULL, 0, got);
            assert_memory_equal(got, want, sizeof want);
        }
        transcript_free(t);
    }
    transcript_free(NULL);
}

static void transcript_holds_two_frames_of_the_largest_size(void **state)
{
    (void)state;
    uint8_t *frame = malloc(FRAME_MAX_BEFORE_LOGIN);
    memset(frame, 0x5a, FRAME_MAX_BEFORE_LOGIN);
    struct transcript *t = transcript_new();
    transcript_add(t, frame, FRAME_MAX_BEFORE_LOGIN);
    transcript_add(t, frame, FRAME_MAX_BEFORE_LOGIN);
    transcript_choose(t, suite_find(1));
    uint8_t want[SUITE_HASH_LEN];
    uint8_t got[SUITE_HASH_LEN];
    const struct suite_part parts[] = {{frame, FRAME_MAX_BEFORE_LOGIN}, {frame, FRAME_MAX_BEFORE_LOGIN}};
    suite_hash(suite_find(1), parts, 2, want);
    transcript_hash(t, NULL, 0, got);
    assert_memory_equal(got, want, sizeof want);
    transcript_free(t);
    free(frame);
}

static void the_root_input_has_no_gaps(void **state)
{
    (void)state;
    uint8_t th[SUITE_HASH_LEN];
    uint8_t exporter[SCHEDULE_EXPORTER_LEN];
    uint8_t out[SCHEDULE_ROOT_INPUT_LEN];
    memset(th, 0x11, sizeof th);
    memset(exporter, 0x22, sizeof exporter);
    schedule_root_input(th, exporter, out);
    assert_int_equal(sizeof out, 81);
    assert_memory_equal(out, "ticketgate/1 root", 17);
    assert_memory_equal(out + 17, th, 32);
    assert_memory_equal(out + 49, exporter, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_proofs_are_refused),
        cmocka_unit_test(a_proof_in_another_suite_is_refused),
        cmocka_unit_test(keys_differ_from_each_other_and_from_the_root),
        cmocka_unit_test(transcript_hashes_frames_in_order),
        cmocka_unit_test(transcript_holds_two_frames_of_the_largest_size),
        cmocka_unit_test(the_root_input_has_no_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
