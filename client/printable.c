#include "client/printable.h"

#include <stdbool.h>
#include <string.h>

#include "common/utf8.h"

/* C0, DEL, C1, and the marks that turn the direction of what follows (UAX 9): all can make a terminal show
 * what is not there. */
static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

void printable_copy(char *out, size_t size, const char *text)
{
    size_t used = 0;
    size_t left = text != NULL ? strlen(text) : 0;
    while (left > 0) {
        uint32_t code = 0;
        size_t taken = utf8_decode(text, left, &code);
        bool plain = taken > 0 && !is_control(code);
        const char *piece = plain ? text : *text == '\n' || *text == '\t' ? " " : "?";
        taken += taken == 0;
        size_t len = plain ? taken : 1;
        if (used + len >= size)
            break;
        memcpy(out + used, piece, len);
        used += len;
        text += taken;
        left -= taken;
    }
    out[used] = '\0';
}
