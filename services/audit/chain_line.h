/* One line of the hash-chained log:
 *
 *   {"metadata":{"sequence":17,<the entry, up to its last brace>,"prev":"<hex of SHA-256 over the previous
 *   line, without its line feed>"}
 *
 * The first line of all has 64 zeros for prev. */
#ifndef TG_AUDIT_CHAIN_LINE_H
#define TG_AUDIT_CHAIN_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chain_line_sizes {
    CHAIN_HASH_LEN = 32,
    CHAIN_HEX_LEN = 64,
    CHAIN_LINE_MAX = 65536,                     /* longer ones are never written, and end a scan */
    CHAIN_LINE_OVERHEAD = 24 + 20 + 1 + 74 + 2, /* {"metadata":{"sequence":…, and ,"prev":"…"} */
    CHAIN_BODY_MAX = CHAIN_LINE_MAX - CHAIN_LINE_OVERHEAD
};

/* Where a log stands: what the next line must say. */
struct chain_head {
    uint64_t next;
    uint8_t prev[CHAIN_HASH_LEN];
};

/* Writes the line with its line feed into out (room for body_len + CHAIN_LINE_OVERHEAD); returns its length
 * and moves the head on. Any thread, as all here. */
size_t chain_line_encode(struct chain_head *head, const char *body, size_t body_len, char *out);

/* Reads what a line (without its line feed) says of its own place. False: not such a line. */
bool chain_line_decode(const char *line, size_t len, uint64_t *sequence, uint8_t prev[CHAIN_HASH_LEN]);

/* True when the line continues the chain at head, which then moves on. */
bool chain_line_follows(struct chain_head *head, const char *line, size_t len);

void chain_hash(const char *line, size_t len, uint8_t hash[CHAIN_HASH_LEN]);

#endif
