#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rpc/breaker.h"

static void it_opens_after_failures_in_a_row_only(void **state)
{
    (void)state;
    struct breaker b = {0};
    for (int i = 0; i < 3 * BREAKER_FAILURES; i++) {
        breaker_failure(&b, 0);
        if (i % (BREAKER_FAILURES - 1) == BREAKER_FAILURES - 2)
            breaker_success(&b);
        assert_true(breaker_allow(&b, 0));
    }
    breaker_success(&b);
    for (int i = 0; i < BREAKER_FAILURES; i++) {
        assert_true(breaker_is_closed(&b));
        breaker_failure(&b, 1000);
    }
    assert_false(breaker_is_closed(&b));
    assert_false(breaker_allow(&b, 1000));
}

static void when_open_it_lets_one_probe_through_at_a_time(void **state)
{
    (void)state;
    struct breaker b = {0};
    for (int i = 0; i < BREAKER_FAILURES; i++)
        breaker_failure(&b, 1000);
    assert_false(breaker_would_allow(&b, 1000 + BREAKER_PROBE_MS - 1));
    assert_false(breaker_allow(&b, 1000 + BREAKER_PROBE_MS - 1));
    assert_true(breaker_would_allow(&b, 1000 + BREAKER_PROBE_MS));
    assert_true(breaker_would_allow(&b, 1000 + BREAKER_PROBE_MS)); /* asking is no probe */
    assert_true(breaker_allow(&b, 1000 + BREAKER_PROBE_MS));
    assert_false(breaker_would_allow(&b, 1000 + BREAKER_PROBE_MS));
    assert_false(breaker_allow(&b, 1000 + BREAKER_PROBE_MS));
    breaker_failure(&b, 2000);
    assert_false(breaker_allow(&b, 2000 + BREAKER_PROBE_MS - 1));
    assert_true(breaker_allow(&b, 2000 + BREAKER_PROBE_MS));
    breaker_success(&b);
    assert_true(breaker_is_closed(&b));
    assert_true(breaker_allow(&b, 2000 + BREAKER_PROBE_MS));
    assert_true(breaker_allow(&b, 2000 + BREAKER_PROBE_MS));
}

static void half_a_bucket_of_failures_stops_retries(void **state)
{
    (void)state;
    struct throttle t = {0};
    int failures = 0;
    while (throttle_allows(&t)) {
        throttle_failure(&t);
        failures++;
    }
    assert_int_equal(failures, THROTTLE_FULL / THROTTLE_FAILURE / 2);
    throttle_success(&t);
    assert_true(throttle_allows(&t));
    throttle_failure(&t);
    assert_false(throttle_allows(&t));
}

static void the_bucket_has_a_bottom_and_a_brim(void **state)
{
    (void)state;
    struct throttle t = {0};
    throttle_success(&t);
    assert_int_equal(t.spent, 0);
    for (int i = 0; i < 1000; i++)
        throttle_failure(&t);
    assert_int_equal(t.spent, THROTTLE_FULL);
    for (int i = 0; i <= THROTTLE_FULL / THROTTLE_SUCCESS / 2; i++)
        throttle_success(&t);
    assert_true(throttle_allows(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_after_failures_in_a_row_only),
        cmocka_unit_test(when_open_it_lets_one_probe_through_at_a_time),
        cmocka_unit_test(half_a_bucket_of_failures_stops_retries),
        cmocka_unit_test(the_bucket_has_a_bottom_and_a_brim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
