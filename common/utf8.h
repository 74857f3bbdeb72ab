/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TG_COMMON_UTF8_H
#define TG_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the character that starts at `text`, of which `len` bytes are there. Returns its length (1 to 4)
 * and puts it into *code; 0 when these bytes are not a whole, valid character, or len is 0. Any thread. */
size_t utf8_decode(const char *text, size_t len, uint32_t *code);

/* True for what could end a line or steer the terminal of whoever reads it: C0, DEL and C1 controls, line and
 * paragraph separators, changes of writing direction (UAX 9). Any thread. */
bool utf8_steers(uint32_t code);

/* Copies text from outside, len bytes, into out[size] as one line of harmless UTF-8, NUL-terminated: each
 * character that steers, and each byte that is not UTF-8, becomes U+FFFD; with keep_lines line feeds stay.
 * What does not fit is left out, whole characters at a time. Returns how many bytes of text went in: less
 * than len means that it was cut. Any thread. */
size_t utf8_clean(char *out, size_t size, const char *text, size_t len, bool keep_lines);

#endif
