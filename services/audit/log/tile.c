#include "services/audit/log/tile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tile tile_of(uint64_t size, int level, uint64_t index)
{
    int shift = level == TILE_ENTRIES ? 0 : 8 * level;
    uint64_t hashes = size >> shift;
    uint64_t before = index * TILE_WIDTH;
    struct tile tile = {level, index, 0};
    if (index <= UINT64_MAX / TILE_WIDTH && hashes > before)
        tile.width = hashes - before < TILE_WIDTH ? (unsigned)(hashes - before) : (unsigned)TILE_WIDTH;
    return tile;
}

/* tile/0/x001/x234/067 */
static int put_stem(const struct tile *tile, char path[TILE_PATH_MAX])
{
    uint64_t scale = 1;
    while (tile->index / scale >= 1000)
        scale *= 1000;
    int len = tile->level == TILE_ENTRIES ? snprintf(path, TILE_PATH_MAX, "tile/entries")
                                          : snprintf(path, TILE_PATH_MAX, "tile/%d", tile->level);
    for (; scale > 0; scale /= 1000)
        len += snprintf(path + len, (size_t)(TILE_PATH_MAX - len), "/%s%03u", scale > 1 ? "x" : "",
                        (unsigned)(tile->index / scale % 1000));
    TG_INVARIANT(len < TILE_PATH_MAX - 8);
    return len;
}

void tile_path(const struct tile *tile, char path[TILE_PATH_MAX])
{
    int len = put_stem(tile, path);
    if (tile->width < TILE_WIDTH)
        snprintf(path + len, (size_t)(TILE_PATH_MAX - len), ".p/%u", tile->width);
}

void tile_partial_directory(const struct tile *tile, char path[TILE_PATH_MAX])
{
    int len = put_stem(tile, path);
    snprintf(path + len, (size_t)(TILE_PATH_MAX - len), ".p");
}

static bool parse_digits(const char **at, unsigned count_max, uint64_t *value)
{
    const char *start = *at;
    for (*value = 0; **at >= '0' && **at <= '9' && *at - start < (int)count_max; (*at)++)
        *value = *value * 10 + (uint64_t)(**at - '0');
    return *at > start;
}

bool tile_parse(const char *path, struct tile *tile)
{
    const char *at = path;
    uint64_t number = 0;
    char again[TILE_PATH_MAX];
    *tile = (struct tile){TILE_ENTRIES, 0, TILE_WIDTH};
    if (strnlen(path, TILE_PATH_MAX) == TILE_PATH_MAX)
        return false;
    if (strncmp(at, "tile/entries", 12) == 0) {
        at += 12;
    } else {
        at += strncmp(at, "tile/", 5) == 0 ? 5 : 0;
        if (!parse_digits(&at, 1, &number) || number >= TILE_LEVELS)
            return false;
        tile->level = (int)number;
    }
    while (*at == '/') {
        at += at[1] == 'x' ? 2 : 1;
        if (!parse_digits(&at, 3, &number) || tile->index > UINT64_MAX / 1000 / 1000)
            return false;
        tile->index = tile->index * 1000 + number;
    }
    if (strncmp(at, ".p/", 3) == 0) {
        at += 3;
        if (!parse_digits(&at, 3, &number) || number == 0 || number >= TILE_WIDTH)
            return false;
        tile->width = (unsigned)number;
    }
    tile_path(tile, again); /* there is one way to write each */
    return strcmp(again, path) == 0;
}

bool tile_bytes_add(struct tile_bytes *bytes, const void *data, size_t len)
{
    if (bytes->room - bytes->len < len) {
        size_t room = (bytes->len + len) * 2;
        uint8_t *more = realloc(bytes->data, room);
        if (more == NULL)
            return false;
        bytes->data = more;
        bytes->room = room;
    }
    if (len > 0)
        memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
    return true;
}

void tile_bytes_free(struct tile_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct tile_bytes){0};
}

static enum tg_code read_all(int fd, const char *path, size_t len, struct tile_bytes *bytes,
                             struct tg_error *err)
{
    if (bytes->room < len) {
        uint8_t *more = realloc(bytes->data, len);
        TG_ENSURE(more != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to read %s", path);
        bytes->data = more;
        bytes->room = len;
    }
    for (bytes->len = 0; bytes->len < len;) {
        ssize_t got = pread(fd, bytes->data + bytes->len, len - bytes->len, (off_t)bytes->len);
        if (got < 0 && errno == EINTR)
            continue;
        TG_ENSURE(got >= 0, err, TG_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
        if (got == 0)
            break;
        bytes->len += (size_t)got;
    }
    return TG_OK;
}

/* Of a bundle: how many bytes its first `width` entries take; 0: it does not hold as many. */
static size_t entries_len(const struct tile_bytes *bytes, unsigned width)
{
    const uint8_t *at = bytes->data;
    const char *entry = NULL;
    size_t len = 0;
    for (unsigned i = 0; i < width; i++) {
        if (!tile_next_entry(&at, bytes->data + bytes->len, &entry, &len))
            return 0;
    }
    return (size_t)(at - bytes->data);
}

static enum tg_code check_len(const struct tile *tile, bool whole, const char *path, struct tile_bytes *bytes,
                              struct tg_error *err)
{
    size_t need =
        tile->level == TILE_ENTRIES ? entries_len(bytes, tile->width) : (size_t)tile->width * MERKLE_HASH_LEN;
    TG_ENSURE(need > 0 && bytes->len >= need, err, TG_DATA_LOSS, "%s is too short", path);
    TG_ENSURE(!whole || bytes->len == need, err, TG_DATA_LOSS, "%s is too long", path);
    bytes->len = need;
    return TG_OK;
}

enum tg_code tile_read(int directory, const struct tile *tile, struct tile_bytes *bytes, struct tg_error *err)
{
    char path[TILE_PATH_MAX];
    tile_path(tile, path);
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool whole = fd >= 0 || tile->width == TILE_WIDTH;
    if (!whole && errno == ENOENT) {
        const struct tile full = {tile->level, tile->index, TILE_WIDTH};
        char full_path[TILE_PATH_MAX];
        tile_path(&full, full_path);
        fd = openat(directory, full_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    TG_ENSURE(fd >= 0, err, errno == ENOENT || errno == ELOOP ? TG_DATA_LOSS : TG_UNAVAILABLE,
              "cannot open %s: %s", path, strerror(errno));
    struct stat info;
    enum tg_code code = TG_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > BUNDLE_MAX)
        code = tg_fail(err, TG_DATA_LOSS, "%s is not a tile", path);
    else
        code = read_all(fd, path, (size_t)info.st_size, bytes, err);
    close(fd);
    TG_TRY(code);
    return check_len(tile, whole, path, bytes, err);
}

bool tile_next_entry(const uint8_t **at, const uint8_t *end, const char **entry, size_t *len)
{
    if (end - *at < 2)
        return false;
    *len = (size_t)(*at)[0] << 8 | (*at)[1];
    if ((size_t)(end - *at) < 2 + *len)
        return false;
    *entry = (const char *)*at + 2;
    *at += 2 + *len;
    return true;
}
