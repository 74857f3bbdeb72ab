#include "services/key-store/source/health_tests.h"

#include <math.h>

/* C = 1 + ceil(-log2(alpha) / H) */
unsigned health_repetition_cutoff(unsigned min_entropy, unsigned bits)
{
    return 1 + (bits * 1000 + min_entropy - 1) / min_entropy;
}

/* Chance that k of W samples equal the first one, when each does with chance p. */
static double binomial(unsigned k, double p)
{
    double w = HEALTH_WINDOW;
    return exp(lgamma(w + 1) - lgamma(k + 1.0) - lgamma(w - k + 1) + k * log(p) + (w - k) * log1p(-p));
}

/* C = 1 + critbinom(W, 2^-H, 1 - alpha): one more than the smallest k of which no more than alpha lies above.
 * Summed from above, where the terms are small. */
unsigned health_proportion_cutoff(unsigned min_entropy, unsigned bits)
{
    double p = exp2(-(min_entropy / 1000.0)), alpha = exp2(-(double)bits), above = 0;
    unsigned k = HEALTH_WINDOW;
    while (k > 0 && above + binomial(k, p) <= alpha)
        above += binomial(k--, p);
    return 1 + k;
}

void health_tests_init(struct health_tests *tests, unsigned min_entropy)
{
    TG_INVARIANT(min_entropy >= HEALTH_ENTROPY_MIN && min_entropy <= HEALTH_ENTROPY_MAX);
    *tests = (struct health_tests){
        .repetition_cutoff = health_repetition_cutoff(min_entropy, HEALTH_FALSE_ALARM_BITS),
        .proportion_cutoff = health_proportion_cutoff(min_entropy, HEALTH_FALSE_ALARM_BITS),
    };
}

/* 4.4.1 */
static enum tg_code test_repetition(struct health_tests *tests, uint8_t sample, struct tg_error *err)
{
    tests->repeats = tests->repeats > 0 && sample == tests->last ? tests->repeats + 1 : 1;
    tests->last = sample;
    TG_ENSURE(tests->repeats < tests->repetition_cutoff, err, TG_DATA_LOSS,
              "repetition count test failed (SP 800-90B 4.4.1): the same byte %u times in a row",
              tests->repeats);
    return TG_OK;
}

/* 4.4.2 */
static enum tg_code test_proportion(struct health_tests *tests, uint8_t sample, struct tg_error *err)
{
    if (tests->seen == 0) {
        tests->sample = sample;
        tests->count = 0;
    }
    tests->count += sample == tests->sample;
    tests->seen = (tests->seen + 1) % HEALTH_WINDOW;
    TG_ENSURE(tests->count < tests->proportion_cutoff, err, TG_DATA_LOSS,
              "adaptive proportion test failed (SP 800-90B 4.4.2): the same byte %u times among %d",
              tests->count, HEALTH_WINDOW);
    return TG_OK;
}

enum tg_code health_tests_feed(struct health_tests *tests, const uint8_t *samples, size_t count,
                               struct tg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        TG_TRY(test_repetition(tests, samples[i], err));
        TG_TRY(test_proportion(tests, samples[i], err));
    }
    return TG_OK;
}
