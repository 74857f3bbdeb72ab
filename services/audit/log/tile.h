/* The files of a log as C2SP tlog-tiles names them, relative to its directory: tile/<level>/<n>[.p/<width>]
 * and tile/entries/<n>[.p/<width>]. */
#ifndef TG_AUDIT_TILE_H
#define TG_AUDIT_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "services/audit/log/merkle.h"

enum tile_sizes {
    TILE_WIDTH = 256,  /* hashes or entries in a full tile */
    TILE_LEVELS = 8,   /* 256^8 entries */
    TILE_ENTRIES = -1, /* as a level: the bundle of entries */
    TILE_PATH_MAX = 64,
    ENTRY_MAX = 65535,
    BUNDLE_MAX = TILE_WIDTH * (2 + ENTRY_MAX)
};

struct tile {
    int level;
    uint64_t index;
    unsigned width; /* 1 to 256 */
};

/* The tile of that level and index in a tree of `size`; width 0: there is none. */
struct tile tile_of(uint64_t size, int level, uint64_t index);
void tile_path(const struct tile *tile, char path[TILE_PATH_MAX]);
/* The directory of its partial forms: tile/0/001.p */
void tile_partial_directory(const struct tile *tile, char path[TILE_PATH_MAX]);
/* Exactly the paths that tile_path makes; false: any other. */
bool tile_parse(const char *path, struct tile *tile);

/* Bytes that grow. */
struct tile_bytes {
    uint8_t *data;
    size_t len;
    size_t room;
};
bool tile_bytes_add(struct tile_bytes *bytes, const void *data, size_t len) TG_MUST_CHECK;
void tile_bytes_free(struct tile_bytes *bytes);

/* Reads what the tile holds into `bytes`, from the full tile when the partial one is no longer there, and
 * checks its length. DATA_LOSS: missing, too short, too long. UNAVAILABLE: cannot be read. */
enum tg_code tile_read(int directory, const struct tile *tile, struct tile_bytes *bytes,
                       struct tg_error *err) TG_MUST_CHECK;

/* One length-prefixed entry of a bundle; moves *at on. False: none is left, or it is cut off. */
bool tile_next_entry(const uint8_t **at, const uint8_t *end, const char **entry, size_t *len);

#endif
