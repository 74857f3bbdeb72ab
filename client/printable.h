/* Text that a gateway or key centre sent, made safe for a terminal: no control characters, no broken UTF-8,
 * bounded. */
#ifndef TG_CLIENT_PRINTABLE_H
#define TG_CLIENT_PRINTABLE_H

#include <stddef.h>

/* Copies what fits of `text` (NULL: "") into out[size], cut at a character's end. Line feeds and tabs become
 * spaces; each other control character (C0, DEL, C1), and each byte that is not UTF-8, becomes '?'. Any
 * thread. */
void printable_copy(char *out, size_t size, const char *text);

#endif
