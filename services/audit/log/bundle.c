#include "services/audit/log/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool bundle_is_in(int directory, uint64_t index)
{
    const struct tile tile = {TILE_ENTRIES, index, TILE_WIDTH};
    char path[TILE_PATH_MAX];
    tile_path(&tile, path);
    return faccessat(directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

bool bundle_has_partials(int directory, uint64_t index)
{
    const struct tile tile = {TILE_ENTRIES, index, TILE_WIDTH};
    char path[TILE_PATH_MAX];
    tile_partial_directory(&tile, path);
    return faccessat(directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* All that are gone come before all that are there. */
uint64_t bundle_first(int log, uint64_t end)
{
    uint64_t low = 0;
    if (end > 0 && bundle_is_in(log, 0))
        return 0;
    while (low < end) {
        uint64_t middle = low + (end - low) / 2;
        if (bundle_is_in(log, middle))
            end = middle;
        else
            low = middle + 1;
    }
    return low;
}

enum tg_code bundle_read(const struct bundle_places *places, const struct tile *tile,
                         struct tile_bytes *bytes, bool *archived, struct tg_error *err)
{
    enum tg_code code = tile_read(places->log, tile, bytes, err);
    *archived = false;
    if (code != TG_DATA_LOSS || bundle_is_in(places->log, tile->index))
        return code;
    *archived = places->archive >= 0 && bundle_is_in(places->archive, tile->index);
    if (*archived)
        return tile_read(places->archive, tile, bytes, err);
    if (tile->width < TILE_WIDTH)
        return code;
    char path[TILE_PATH_MAX];
    tile_path(tile, path);
    return tg_fail(err, TG_NOT_FOUND, "%s is not in the log%s", path,
                   places->archive >= 0 ? ", and not in its archive either" : "");
}

static enum tg_code check_leaves(struct merkle *merkle, const struct tile *tile,
                                 const struct tile_bytes *bytes, const struct merkle_hash *hashes,
                                 struct tg_error *err)
{
    const uint8_t *at = bytes->data;
    const char *entry = NULL;
    size_t len = 0;
    for (unsigned i = 0; i < tile->width; i++) {
        struct merkle_hash leaf;
        bool good = tile_next_entry(&at, bytes->data + bytes->len, &entry, &len);
        if (good)
            merkle_leaf(merkle, entry, len, &leaf);
        TG_ENSURE(good && merkle_equal(&leaf, &hashes[i]), err, TG_DATA_LOSS,
                  "event %" PRIu64 " is not the one that was signed", tile->index * TILE_WIDTH + i);
    }
    return TG_OK;
}

enum tg_code bundle_check(int log, const struct tile *tile, const struct tile_bytes *bytes,
                          struct tg_error *err)
{
    const struct tile hashes_tile = {0, tile->index, tile->width};
    struct tile_bytes hashes = {0};
    struct merkle *merkle = merkle_new();
    enum tg_code code = merkle != NULL
                            ? tile_read(log, &hashes_tile, &hashes, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory to check a bundle of events");
    if (code == TG_OK)
        code = check_leaves(merkle, tile, bytes, (const struct merkle_hash *)hashes.data, err);
    tile_bytes_free(&hashes);
    merkle_free(merkle);
    return code;
}

uint64_t bundle_announced(const char *entry, size_t len)
{
    static const char event[] = ",\"event_code\":\"audit.archived\"";
    static const char message[] = ",\"message\":\"events ";
    const char *at = memmem(entry, len, event, sizeof event - 1);
    if (at != NULL)
        at = memmem(entry, len, message, sizeof message - 1);
    if (at == NULL)
        return 0;
    char text[64]; /* two numbers and what is between them */
    size_t rest = (size_t)(entry + len - at) - (sizeof message - 1);
    snprintf(text, sizeof text, "%.*s", (int)(rest < sizeof text ? rest : sizeof text - 1),
             at + sizeof message - 1);
    char *end = NULL;
    (void)strtoull(text, &end, 10);
    if (strncmp(end, " to ", 4) != 0)
        return 0;
    uint64_t last = strtoull(end + 4, NULL, 10);
    return last < UINT64_MAX ? last + 1 : 0;
}
