#include "services/audit/log/tree.h"

#include <string.h>

/* Index of the tile at the edge of a level. */
static uint64_t edge_index(uint64_t size, int level)
{
    return (size >> (8 * level)) / TILE_WIDTH;
}

enum tg_code tree_add(struct tree *tree, struct merkle *merkle, const struct merkle_hash *leaf,
                      tree_sink *full, void *arg, struct tg_error *err)
{
    struct merkle_hash up = *leaf;
    TG_INVARIANT(tree->size < UINT64_MAX);
    for (int level = 0; level < TILE_LEVELS; level++) {
        struct tile tile = {level, edge_index(tree->size, level), TILE_WIDTH};
        struct merkle_hash *hashes = tree->level[level].hash;
        hashes[tree->level[level].width++] = up;
        if (tree->level[level].width < TILE_WIDTH)
            break;
        TG_TRY(full(arg, &tile, hashes, err));
        merkle_perfect(merkle, hashes, TILE_WIDTH, &up);
        tree->level[level].width = 0;
    }
    tree->size++;
    return TG_OK;
}

enum tg_code tree_edge(const struct tree *tree, tree_sink *partial, void *arg, struct tg_error *err)
{
    for (int level = 0; level < TILE_LEVELS; level++) {
        struct tile tile = {level, edge_index(tree->size, level), tree->level[level].width};
        if (tile.width > 0)
            TG_TRY(partial(arg, &tile, tree->level[level].hash, err));
    }
    return TG_OK;
}

void tree_root(const struct tree *tree, struct merkle *merkle, struct merkle_hash *root)
{
    bool empty = true;
    for (int level = 0; level < TILE_LEVELS; level++) {
        unsigned end = tree->level[level].width; /* what is left of it, from the right */
        for (unsigned part = 1; part < TILE_WIDTH; part *= 2) {
            if ((tree->level[level].width & part) == 0)
                continue;
            struct merkle_hash left;
            end -= part;
            merkle_perfect(merkle, tree->level[level].hash + end, part, &left);
            if (empty)
                *root = left;
            else
                merkle_node(merkle, &left, root, root);
            empty = false;
        }
    }
    if (empty)
        merkle_empty(merkle, root);
}

enum tg_code tree_load(struct tree *tree, uint64_t size, int directory, struct tg_error *err)
{
    struct tile_bytes bytes = {0};
    enum tg_code code = TG_OK;
    *tree = (struct tree){.size = size};
    for (int level = 0; code == TG_OK && level < TILE_LEVELS; level++) {
        struct tile tile = tile_of(size, level, edge_index(size, level));
        if (tile.width == 0)
            continue;
        code = tile_read(directory, &tile, &bytes, err);
        if (code != TG_OK)
            break;
        tree->level[level].width = tile.width;
        memcpy(tree->level[level].hash, bytes.data, bytes.len);
    }
    tile_bytes_free(&bytes);
    return code;
}
