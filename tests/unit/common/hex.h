/* Bytes and keys from hex, for known answers. */
#ifndef TG_TESTS_UNIT_COMMON_HEX_H
#define TG_TESTS_UNIT_COMMON_HEX_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "common/secret.h"

struct bytes {
    uint8_t data[8192];
    size_t len;
};

static inline unsigned hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (unsigned)(at - digits) : 16;
}

/* Lower-case hex; fails the test on anything else. */
static inline struct bytes from_hex(const char *hex)
{
    struct bytes out = {.len = strlen(hex) / 2};
    assert_true(strlen(hex) % 2 == 0 && out.len <= sizeof out.data);
    for (size_t i = 0; i < out.len; i++) {
        unsigned high = hex_digit(hex[2 * i]);
        unsigned low = hex_digit(hex[2 * i + 1]);
        assert_true(high < 16 && low < 16);
        out.data[i] = (uint8_t)(high << 4 | low);
    }
    return out;
}

static inline struct secret *secret_from_hex(const char *hex)
{
    struct bytes b = from_hex(hex);
    return secret_copy(b.data, b.len);
}

static inline void assert_hex(const void *bytes, size_t len, const char *hex)
{
    struct bytes expected = from_hex(hex);
    assert_int_equal(len, expected.len);
    assert_memory_equal(bytes, expected.data, len);
}

#endif
