#include "services/audit/log/proof.h"

void proof_close(struct proof_source *source)
{
    for (int level = 0; level < TILE_LEVELS; level++)
        tile_bytes_free(&source->tile[level]);
}

/* Of the perfect subtree with 2^height leaves whose first leaf is first. */
static enum tg_code perfect(struct proof_source *source, uint64_t first, unsigned height,
                            struct merkle_hash *out, struct tg_error *err)
{
    int level = (int)(height / 8);
    uint64_t at = first >> (8 * level);
    struct tile tile = tile_of(source->size, level, at / TILE_WIDTH);
    struct tile_bytes *bytes = &source->tile[level];
    if (bytes->len == 0 || source->now[level].index != tile.index) {
        enum tg_code code = tile_read(source->directory, &tile, bytes, err);
        if (code != TG_OK) {
            bytes->len = 0;
            return code;
        }
        source->now[level] = tile;
    }
    size_t count = (size_t)1 << (height % 8);
    TG_INVARIANT(at % TILE_WIDTH + count <= tile.width);
    merkle_perfect(source->merkle, (const struct merkle_hash *)bytes->data + at % TILE_WIDTH, count, out);
    return TG_OK;
}

/* The height of the largest perfect subtree that is smaller than `leaves` (at least 2). */
static unsigned split_height(uint64_t leaves)
{
    return 63 - (unsigned)__builtin_clzll(leaves - 1);
}

/* MTH of the leaves from first (where a perfect subtree may begin) up to end. */
static enum tg_code range(struct proof_source *source, uint64_t first, uint64_t end, struct merkle_hash *out,
                          struct tg_error *err)
{
    uint64_t starts[64];
    unsigned heights[64];
    unsigned parts = 0;
    while (first < end) { /* left to right, ever smaller */
        unsigned height = 63 - (unsigned)__builtin_clzll(end - first);
        starts[parts] = first;
        heights[parts++] = height;
        first += UINT64_C(1) << height;
    }
    TG_INVARIANT(parts > 0);
    TG_TRY(perfect(source, starts[parts - 1], heights[parts - 1], out, err));
    while (--parts > 0) {
        struct merkle_hash left;
        TG_TRY(perfect(source, starts[parts - 1], heights[parts - 1], &left, err));
        merkle_node(source->merkle, &left, out, out);
    }
    return TG_OK;
}

enum tg_code proof_root(struct proof_source *source, uint64_t size, struct merkle_hash *root,
                        struct tg_error *err)
{
    TG_INVARIANT(size <= source->size);
    if (size > 0)
        return range(source, 0, size, root, err);
    merkle_empty(source->merkle, root);
    return TG_OK;
}

static void reverse(struct merkle_hash *hashes, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct merkle_hash swapped = hashes[i];
        hashes[i] = hashes[count - 1 - i];
        hashes[count - 1 - i] = swapped;
    }
}

enum tg_code proof_inclusion(struct proof_source *source, uint64_t index,
                             struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count, struct tg_error *err)
{
    uint64_t first = 0;
    uint64_t end = source->size;
    TG_INVARIANT(index < end);
    for (*count = 0; end - first > 1; (*count)++) { /* from the root down to the leaf */
        uint64_t middle = first + (UINT64_C(1) << split_height(end - first));
        TG_INVARIANT(*count < MERKLE_PROOF_MAX);
        if (index < middle) {
            TG_TRY(range(source, middle, end, &proof[*count], err));
            end = middle;
        } else {
            TG_TRY(range(source, first, middle, &proof[*count], err));
            first = middle;
        }
    }
    reverse(proof, *count);
    return TG_OK;
}

enum tg_code proof_consistency(struct proof_source *source, uint64_t old,
                               struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                               struct tg_error *err)
{
    uint64_t first = 0;
    uint64_t end = source->size;
    bool known = true; /* the old root itself covers [first, old) */
    TG_INVARIANT(old > 0 && old <= end);
    for (*count = 0; end != old; (*count)++) {
        uint64_t middle = first + (UINT64_C(1) << split_height(end - first));
        TG_INVARIANT(*count < MERKLE_PROOF_MAX - 1);
        if (old <= middle) {
            TG_TRY(range(source, middle, end, &proof[*count], err));
            end = middle;
        } else {
            TG_TRY(range(source, first, middle, &proof[*count], err));
            first = middle;
            known = false;
        }
    }
    if (!known)
        TG_TRY(range(source, first, end, &proof[(*count)++], err));
    reverse(proof, *count);
    return TG_OK;
}
