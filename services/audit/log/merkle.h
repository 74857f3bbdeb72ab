/* Hashes of the Merkle tree: RFC 6962, section 2.1, with SHA-256. */
#ifndef TG_AUDIT_MERKLE_H
#define TG_AUDIT_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MERKLE_HASH_LEN = 32, MERKLE_PROOF_MAX = 64 /* hashes: one for each bit of a size */ };

struct merkle_hash {
    uint8_t bytes[MERKLE_HASH_LEN];
};

/* OpenSSL's context, kept, since making one costs more than hashing an entry. One thread at a time. */
struct merkle;

/* NULL without memory. */
struct merkle *merkle_new(void);
/* NULL is fine. */
void merkle_free(struct merkle *merkle);

void merkle_empty(struct merkle *merkle, struct merkle_hash *out);
void merkle_leaf(struct merkle *merkle, const void *entry, size_t len, struct merkle_hash *out);
/* `out` may be one of the two. */
void merkle_node(struct merkle *merkle, const struct merkle_hash *left, const struct merkle_hash *right,
                 struct merkle_hash *out);
/* Of `count` (a power of two) hashes that stand side by side. */
void merkle_perfect(struct merkle *merkle, const struct merkle_hash *hashes, size_t count,
                    struct merkle_hash *out);

bool merkle_equal(const struct merkle_hash *a, const struct merkle_hash *b);

/* RFC 9162, section 2.1.3.2: does the proof lead from this leaf to this root? */
bool merkle_included(struct merkle *merkle, uint64_t index, uint64_t size, const struct merkle_hash *leaf,
                     const struct merkle_hash *proof, size_t count, const struct merkle_hash *root);

#endif
