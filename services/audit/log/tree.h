/* The right edge of a growing Merkle tree: at each level of tiles the one that is not full. From it follow
 * the root, and each tile as it becomes full. Not locked. */
#ifndef TG_AUDIT_TREE_H
#define TG_AUDIT_TREE_H

#include "services/audit/log/tile.h"

struct tree {
    uint64_t size;
    struct {
        unsigned width;
        struct merkle_hash hash[TILE_WIDTH];
    } level[TILE_LEVELS];
};

/* What to do with a tile; hashes are borrowed. */
typedef enum tg_code tree_sink(void *arg, const struct tile *tile, const struct merkle_hash *hashes,
                               struct tg_error *err);

/* Adds one leaf; tiles that become full go to `full`, whose failure is returned: the tree is then of no more
 * use. */
enum tg_code tree_add(struct tree *tree, struct merkle *merkle, const struct merkle_hash *leaf,
                      tree_sink *full, void *arg, struct tg_error *err) TG_MUST_CHECK;
/* All tiles that are not full and not empty, from level 0 up. */
enum tg_code tree_edge(const struct tree *tree, tree_sink *partial, void *arg,
                       struct tg_error *err) TG_MUST_CHECK;
void tree_root(const struct tree *tree, struct merkle *merkle, struct merkle_hash *root);
/* Reads the edge of a tree of `size` from its tiles. Codes as of tile_read. */
enum tg_code tree_load(struct tree *tree, uint64_t size, int directory, struct tg_error *err) TG_MUST_CHECK;

#endif
