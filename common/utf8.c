#include "common/utf8.h"

#include <string.h>

/* Length and smallest code of the sequence that `lead` starts (RFC 3629, section 3); 0: it cannot start one.
 */
static size_t sequence_of(unsigned char lead, uint32_t *bits, uint32_t *smallest)
{
    static const struct {
        unsigned char mask, prefix;
        uint32_t smallest;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((lead & forms[i].mask) == forms[i].prefix) {
            *bits = (uint32_t)lead & ~(uint32_t)forms[i].mask;
            *smallest = forms[i].smallest;
            return i + 1;
        }
    }
    return 0;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *code)
{
    uint32_t bits = 0;
    uint32_t smallest = 0;
    size_t need = len == 0 ? 0 : sequence_of((unsigned char)text[0], &bits, &smallest);
    if (need == 0 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++) {
        unsigned char next = (unsigned char)text[i];
        if ((next & 0xc0) != 0x80)
            return 0;
        bits = bits << 6 | (next & 0x3fU);
    }
    if (bits < smallest || bits > 0x10ffff || (bits >= 0xd800 && bits <= 0xdfff))
        return 0;
    *code = bits;
    return need;
}

bool utf8_steers(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t utf8_clean(char *out, size_t size, const char *text, size_t len, bool keep_lines)
{
    static const char replacement[] = "\ufffd";
    size_t used = 0;
    size_t taken = 0;
    while (taken < len) {
        uint32_t code = 0;
        size_t step = utf8_decode(text + taken, len - taken, &code);
        bool plain = step > 0 && (!utf8_steers(code) || (keep_lines && code == '\n'));
        const char *piece = plain ? text + taken : replacement;
        size_t piece_len = plain ? step : sizeof replacement - 1;
        if (used + piece_len >= size)
            break;
        memcpy(out + used, piece, piece_len);
        used += piece_len;
        taken += step == 0 ? 1 : step;
    }
    out[used] = '\0';
    return taken;
}
