/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TG_COMMON_UTF8_H
#define TG_COMMON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes the character that starts at `text`, of which `len` bytes are there. Returns its length (1 to 4)
 * and puts it into *code; 0 when these bytes are not a whole, valid character, or len is 0. Any thread. */
size_t utf8_decode(const char *text, size_t len, uint32_t *code);

#endif
