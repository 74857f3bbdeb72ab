/* At most so many a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <unistd.h>

#include "services/gateway/rate.h"

static void a_burst_is_cut_and_counted(void **state)
{
    (void)state;
    struct rate_limit limit;
    uint64_t held_back;
    rate_limit_init(&limit, 1, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(rate_allows(&limit, &held_back));
        assert_int_equal(held_back, 0);
    }
    size_t refused = 0;
    while (!rate_allows(&limit, &held_back)) { /* until the clock has given one more */
        refused++;
        usleep(10000);
    }
    assert_true(refused > 0);
    assert_int_equal(held_back, refused);
    (void)rate_allows(&limit, &held_back);
    assert_int_equal(held_back, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_burst_is_cut_and_counted)};
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
