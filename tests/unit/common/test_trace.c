#include <openssl/crypto.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/trace.h"

static void what_is_not_lower_case_hex_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "0", "001", "00g0", "0 00", "00A0", "+000", "00\xff\xff", "0x00"};
    uint8_t out[2];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *text = strdup(texts[i]); /* its own block, so that reading beyond it is seen */
        assert_false(hex_decode(text, 2, out));
        free(text);
    }
    assert_true(hex_decode("", 0, out));
}

static void hex_goes_back_to_the_same_bytes(void **state)
{
    (void)state;
    uint8_t bytes[256];
    uint8_t again[257] = {0};
    char hex[2 * sizeof bytes + 1];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    hex_encode(bytes, sizeof bytes, hex);
    assert_true(hex_decode(hex, sizeof bytes, again));
    assert_memory_equal(again, bytes, sizeof bytes);
    assert_int_equal(again[256], 0);
}

static void hex_of_nothing_is_empty(void **state)
{
    (void)state;
    char out[3] = "xx";
    hex_encode("", 0, out);
    assert_string_equal(out, "");
    assert_int_equal(out[1], 'x'); /* one byte was written, no more */
}

static void hex_is_lower_case_and_exact(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0xab, 0xff};
    char out[2 * sizeof bytes + 2];
    memset(out, 'x', sizeof out);
    hex_encode(bytes, sizeof bytes, out);
    assert_string_equal(out, "00010f107f80abff");
    assert_int_equal(out[sizeof out - 1], 'x');
}

static void traces_are_32_hex_digits_and_differ(void **state)
{
    (void)state;
    struct trace traces[64];
    for (size_t i = 0; i < 64; i++) {
        traces[i] = trace_new();
        assert_int_equal(strlen(traces[i].hex), TRACE_HEX_LEN);
        assert_int_equal(strspn(traces[i].hex, "0123456789abcdef"), TRACE_HEX_LEN);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(traces[i].hex, traces[j].hex);
    }
}

static void random_bytes_fill_what_they_are_given(void **state)
{
    (void)state;
    uint8_t seen[34] = {0};
    /* A byte that is never written stays 0 in all rounds; by chance that happens once in 256^64. */
    for (int round = 0; round < 64; round++) {
        uint8_t bytes[34] = {0};
        random_bytes(bytes + 1, 32);
        assert_int_equal(bytes[0], 0);
        assert_int_equal(bytes[33], 0);
        for (size_t i = 0; i < sizeof bytes; i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 1; i <= 32; i++)
        assert_int_not_equal(seen[i], 0);
}

static void clocks_go_forward_in_their_units(void **state)
{
    (void)state;
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    uint64_t ms = clock_now_ms();
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(ms >= (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000);
    assert_true(ms <= (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);

    clock_gettime(CLOCK_REALTIME, &before);
    uint64_t us = clock_unix_us();
    clock_gettime(CLOCK_REALTIME, &after);
    assert_true(us >= (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000);
    assert_true(us <= (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_lower_case_hex_is_refused),
        cmocka_unit_test(hex_of_nothing_is_empty),
        cmocka_unit_test(hex_goes_back_to_the_same_bytes),
        cmocka_unit_test(hex_is_lower_case_and_exact),
        cmocka_unit_test(traces_are_32_hex_digits_and_differ),
        cmocka_unit_test(random_bytes_fill_what_they_are_given),
        cmocka_unit_test(clocks_go_forward_in_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
