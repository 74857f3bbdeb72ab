#include "common/trace.h"

#include <openssl/rand.h>
#include <string.h>
#include <time.h>

void random_bytes(void *out, size_t len)
{
    TG_INVARIANT(RAND_bytes(out, (int)len) == 1);
}

static const char digits[] = "0123456789abcdef";

void hex_encode(const void *bytes, size_t len, char *out)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

bool hex_decode(const char *hex, size_t len, void *out)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < 2 * len; i++) {
        const char *digit = hex[i] == '\0' ? NULL : strchr(digits, hex[i]);
        if (digit == NULL)
            return false;
        uint8_t value = (uint8_t)(digit - digits);
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : bytes[i / 2] | value);
    }
    return true;
}

struct trace trace_new(void)
{
    struct trace t;
    uint8_t raw[TRACE_HEX_LEN / 2];
    random_bytes(raw, sizeof raw);
    hex_encode(raw, sizeof raw, t.hex);
    return t;
}

uint64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_unix_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
