/* The health tests of SP 800-90B 4.4. */
#include "scratch.h"

#include <openssl/rand.h>

#include "services/key-store/source/health_tests.h"

static void cutoffs_are_the_standard_ones(void **state)
{
    (void)state;
    /* 4.4.1: alpha 2^-20 and H = 1, 8 and 2.5 */
    assert_int_equal(health_repetition_cutoff(1000, 20), 21);
    assert_int_equal(health_repetition_cutoff(8000, 20), 4);
    assert_int_equal(health_repetition_cutoff(2500, 20), 9);
    assert_int_equal(health_repetition_cutoff(100, 40), 401);
    /* 4.4.2, from the formula in 120-digit arithmetic. 325, 422 and 477 also stand in jitterentropy-library.
     */
    static const struct {
        unsigned min_entropy, bits, cutoff;
    } proportion[] = {{1000, 20, 311}, {1000, 30, 325}, {1000, 40, 336}, {500, 30, 422},
                      {250, 30, 477},  {200, 30, 487},  {8000, 20, 13},  {8000, 40, 19},
                      {6000, 30, 31},  {3500, 40, 97},  {100, 20, 502},  {100, 40, 510}};
    for (size_t i = 0; i < sizeof proportion / sizeof proportion[0]; i++)
        assert_int_equal(health_proportion_cutoff(proportion[i].min_entropy, proportion[i].bits),
                         proportion[i].cutoff);
}

static enum tg_code feed(struct health_tests *tests, const uint8_t *samples, size_t count)
{
    struct tg_error err;
    return health_tests_feed(tests, samples, count, &err);
}

static void repetition_is_noticed_at_the_cutoff(void **state)
{
    struct health_tests tests;
    const uint8_t other = 6;
    (void)state;
    for (unsigned entropy = 2000; entropy <= 8000; entropy += 2000) {
        uint8_t same[64];
        memset(same, 7, sizeof same);
        health_tests_init(&tests, entropy);
        unsigned cutoff = tests.repetition_cutoff;
        assert_int_equal(feed(&tests, same, cutoff - 1), TG_OK);
        assert_int_equal(feed(&tests, &other, 1), TG_OK);
        assert_int_equal(feed(&tests, same, cutoff), TG_DATA_LOSS);
    }
}

/* Never twice in a row, yet too often. */
static void a_bias_is_noticed_within_a_window(void **state)
{
    struct health_tests tests;
    uint8_t biased[HEALTH_WINDOW];
    (void)state;
    health_tests_init(&tests, 6000);
    unsigned cutoff = tests.proportion_cutoff;
    assert_true(cutoff > 8 && cutoff < 64);
    for (unsigned i = 0; i < HEALTH_WINDOW; i++)
        biased[i] = i % 2 == 0 && i / 2 < cutoff ? 200 : (uint8_t)(i % 199);
    assert_int_equal(feed(&tests, biased, 2 * (size_t)(cutoff - 1)), TG_OK);
    assert_int_equal(feed(&tests, biased + 2 * (cutoff - 1), 1), TG_DATA_LOSS);
    /* One fewer in each window is as good as nothing. */
    health_tests_init(&tests, 6000);
    biased[2 * (cutoff - 1)] = 1;
    for (int i = 0; i < 4; i++)
        assert_int_equal(feed(&tests, biased, sizeof biased), TG_OK);
}

static void good_noise_passes(void **state)
{
    struct health_tests tests;
    static uint8_t noise[1 << 20];
    (void)state;
    assert_int_equal(RAND_bytes(noise, sizeof noise), 1);
    health_tests_init(&tests, 8000);
    assert_int_equal(feed(&tests, noise, sizeof noise), TG_OK);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] &= 1;
    health_tests_init(&tests, 1000);
    assert_int_equal(feed(&tests, noise, sizeof noise), TG_OK);
    health_tests_init(&tests, 4000); /* less than was promised */
    assert_int_equal(feed(&tests, noise, sizeof noise), TG_DATA_LOSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutoffs_are_the_standard_ones),
        cmocka_unit_test(repetition_is_noticed_at_the_cutoff),
        cmocka_unit_test(a_bias_is_noticed_within_a_window),
        cmocka_unit_test(good_noise_passes),
    };
    quiet();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
