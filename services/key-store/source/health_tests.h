/* The two continuous health tests of NIST SP 800-90B 4.4, over samples of one byte: they notice that a noise
 * source has failed outright. They cannot tell good noise from a cipher's output. */
#ifndef TG_KEY_STORE_HEALTH_TESTS_H
#define TG_KEY_STORE_HEALTH_TESTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum health_test_sizes {
    HEALTH_WINDOW = 512,      /* of the adaptive proportion test, samples that are not binary: 4.4.2 */
    HEALTH_STARTUP = 1024,    /* samples tested before the first is used: 4.3 */
    HEALTH_ENTROPY_MIN = 100, /* thousandths of a bit for each byte */
    HEALTH_ENTROPY_MAX = 8000,
    HEALTH_FALSE_ALARM_BITS = 40 /* a good source fails a test with 2^-40: 4.4 allows 2^-20 to 2^-40 */
};

struct health_tests {
    unsigned repetition_cutoff, proportion_cutoff;
    uint8_t last, sample;
    unsigned repeats; /* of `last`; 0: no sample yet */
    unsigned seen;    /* of the window; 0: a new one begins */
    unsigned count;   /* of `sample` in it */
};

/* min_entropy: of one byte, assessed (SP 800-90B 3), HEALTH_ENTROPY_MIN to HEALTH_ENTROPY_MAX. */
void health_tests_init(struct health_tests *tests, unsigned min_entropy);
/* DATA_LOSS: a test failed; the text says which. */
enum tg_code health_tests_feed(struct health_tests *tests, const uint8_t *samples, size_t count,
                               struct tg_error *err) TG_MUST_CHECK;

/* How many equal samples in a row (4.4.1), or in a window (4.4.2), are too many. False alarms: 2^-bits. */
unsigned health_repetition_cutoff(unsigned min_entropy, unsigned bits);
unsigned health_proportion_cutoff(unsigned min_entropy, unsigned bits);

#endif
