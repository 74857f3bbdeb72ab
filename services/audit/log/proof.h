/* Hashes and proofs of a tree whose tiles lie in a directory (RFC 6962, sections 2.1, 2.1.1 and 2.1.2). One
 * thread at a time. Codes as of tile_read. */
#ifndef TG_AUDIT_PROOF_H
#define TG_AUDIT_PROOF_H

#include "services/audit/log/tile.h"

struct proof_source {
    int directory; /* borrowed, like merkle */
    uint64_t size; /* of the tree that the tiles are of */
    struct merkle *merkle;
    struct tile_bytes tile[TILE_LEVELS]; /* the last one read of each level */
    struct tile now[TILE_LEVELS];
};

void proof_close(struct proof_source *source);

/* Of the tree as it was at `size`, which must not be above source->size. */
enum tg_code proof_root(struct proof_source *source, uint64_t size, struct merkle_hash *root,
                        struct tg_error *err) TG_MUST_CHECK;
/* That the tree of source->size has this leaf; from the leaf up. */
enum tg_code proof_inclusion(struct proof_source *source, uint64_t index,
                             struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                             struct tg_error *err) TG_MUST_CHECK;
/* That the tree of source->size begins with the one of `old` (1 to source->size). */
enum tg_code proof_consistency(struct proof_source *source, uint64_t old,
                               struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                               struct tg_error *err) TG_MUST_CHECK;

#endif
