/* Who may come in: bounds in all and for each source, and places that are given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "services/gateway/admission.h"

static struct source source_from(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return source_of((struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return source_of((struct sockaddr *)&v6);
}

static void one_ipv6_network_is_one_source(void **state)
{
    (void)state;
    struct source a = source_from("2001:db8:1:2::1"), b = source_from("2001:db8:1:2:ffff::9");
    struct source c = source_from("2001:db8:1:3::1"), d = source_from("192.0.2.1"),
                  e = source_from("::ffff:192.0.2.1");
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    assert_memory_equal(&d, &e, sizeof d);
}

static void bounds_in_all_and_for_each_source(void **state)
{
    (void)state;
    struct admission *a = admission_new(5, 2, 1);
    struct source x = source_from("192.0.2.1"), y = source_from("192.0.2.2"), z = source_from("192.0.2.3");
    assert_int_equal(admission_enter(a, x), ADMITTED);
    assert_int_equal(admission_enter(a, x), ADMITTED);
    assert_int_equal(admission_enter(a, x), ADMISSION_SOURCE_FULL);
    assert_int_equal(admission_enter(a, y), ADMITTED);
    assert_int_equal(admission_enter(a, y), ADMITTED);
    assert_int_equal(admission_enter(a, z), ADMITTED);
    assert_int_equal(admission_enter(a, z), ADMISSION_FULL);
    admission_leave(a, x);
    assert_int_equal(admission_enter(a, x), ADMITTED);
    assert_int_equal(admission_counts(a).turned_away, 2);
    assert_int_equal(admission_counts(a).half_open, 5);
    admission_free(a);
}

/* Many sources come and go: no place is lost, none is counted twice. */
static void places_come_back(void **state)
{
    (void)state;
    struct admission *a = admission_new(64, 64, 1);
    for (uint32_t round = 0; round < 50; round++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        for (uint32_t i = 0; i < 64; i++) {
            v4.sin_addr.s_addr = htonl(round * 1000 + i / 2);
            assert_int_equal(admission_enter(a, source_of((struct sockaddr *)&v4)), ADMITTED);
        }
        for (uint32_t i = 0; i < 64; i++) {
            v4.sin_addr.s_addr = htonl(round * 1000 + i / 2);
            admission_leave(a, source_of((struct sockaddr *)&v4));
        }
    }
    assert_true(admission_wait_empty(a, 0));
    admission_free(a);
}

static void sessions_are_bounded(void **state)
{
    (void)state;
    struct admission *a = admission_new(1, 1, 2);
    assert_true(admission_session_enter(a));
    assert_false(admission_sessions_full(a));
    assert_true(admission_session_enter(a));
    assert_true(admission_sessions_full(a));
    assert_false(admission_session_enter(a));
    assert_false(admission_wait_empty(a, 1));
    admission_session_leave(a);
    assert_true(admission_session_enter(a));
    admission_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_ipv6_network_is_one_source),
        cmocka_unit_test(bounds_in_all_and_for_each_source),
        cmocka_unit_test(places_come_back),
        cmocka_unit_test(sessions_are_bounded),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
