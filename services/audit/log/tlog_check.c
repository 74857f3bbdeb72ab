#include "services/audit/log/tlog_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/audit/log/bundle.h"
#include "services/audit/log/proof.h"
#include "services/audit/log/tree.h"

/* The walk from the first entry to the last. */
struct walk {
    struct tlog_check *check;
    struct merkle *merkle;
    struct tree tree;
    struct tile_bytes bundle;
    struct tile_bytes seen;
    uint64_t announced; /* smaller sequences may be missing */
};

enum tg_code tlog_read_checkpoint(int directory, char **note, size_t *len, struct tg_error *err)
{
    int fd = openat(directory, "checkpoint", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    TG_ENSURE(fd >= 0, err, errno == ENOENT ? TG_DATA_LOSS : TG_UNAVAILABLE, "cannot open checkpoint: %s",
              strerror(errno));
    *note = malloc(NOTE_MAX + 1);
    ssize_t got = *note == NULL ? -1 : pread(fd, *note, NOTE_MAX, 0);
    int error = *note == NULL ? ENOMEM : errno;
    close(fd);
    if (got < 0) {
        free(*note);
        *note = NULL;
        return tg_fail(err, TG_UNAVAILABLE, "cannot read checkpoint: %s", strerror(error));
    }
    (*note)[got] = '\0';
    *len = (size_t)got;
    return TG_OK;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t at = 0;
    while (at < len && a[at] == b[at])
        at++;
    return at;
}

/* A smaller form of the tile, from when it was not full yet, is its beginning. */
static enum tg_code check_partial(struct walk *walk, const struct tile *tile, unsigned width,
                                  const uint8_t *bytes, size_t len, struct tg_error *err)
{
    struct tile smaller = {tile->level, tile->index, width};
    TG_TRY(tile_read(walk->check->directory, &smaller, &walk->seen, err));
    TG_ENSURE(walk->seen.len <= len && memcmp(walk->seen.data, bytes, walk->seen.len) == 0, err, TG_DATA_LOSS,
              "its partial form of width %u is not the beginning of it", width);
    return TG_OK;
}

static bool parse_width(const char *name, unsigned *width)
{
    char again[8];
    *width = (unsigned)strtoul(name, NULL, 10);
    snprintf(again, sizeof again, "%u", *width % 1000);
    return *width > 0 && *width < TILE_WIDTH && strcmp(again, name) == 0;
}

static enum tg_code check_partials(struct walk *walk, const struct tile *tile, const uint8_t *bytes,
                                   size_t len, struct tg_error *err)
{
    char path[TILE_PATH_MAX];
    tile_partial_directory(tile, path);
    int fd = openat(walk->check->directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) { /* mostly there is none */
        if (fd >= 0)
            close(fd);
        return TG_OK;
    }
    enum tg_code code = TG_OK;
    for (struct dirent *entry = readdir(dir); code == TG_OK && entry != NULL; entry = readdir(dir)) {
        unsigned width = 0;
        if (entry->d_name[0] == '.')
            continue;
        if (!parse_width(entry->d_name, &width))
            code = tg_fail(err, TG_DATA_LOSS, "%s/%.32s does not belong there", path, entry->d_name);
        else if (width < tile->width)
            code = check_partial(walk, tile, width, bytes, len, err);
    }
    closedir(dir);
    return code;
}

/* The tile that our hashes make is the one that lies there. */
static enum tg_code compare_tile(void *arg, const struct tile *tile, const struct merkle_hash *hashes,
                                 struct tg_error *err)
{
    struct walk *walk = arg;
    char path[TILE_PATH_MAX];
    size_t len = tile->width * sizeof *hashes;
    tile_path(tile, path);
    enum tg_code code = tile_read(walk->check->directory, tile, &walk->seen, err);
    if (code == TG_DATA_LOSS || code == TG_UNAVAILABLE)
        return code;
    TG_TRY(code);
    size_t at = first_difference((const uint8_t *)hashes, walk->seen.data, len) / MERKLE_HASH_LEN;
    if (at < tile->width && tile->level == 0)
        walk->check->entries = tile->index * TILE_WIDTH + at;
    TG_ENSURE(at == tile->width, err, TG_DATA_LOSS, "%s does not hold what %s hash to, from number %zu on",
              path, tile->level == 0 ? "the entries" : "the tiles below it", at);
    return check_partials(walk, tile, (const uint8_t *)hashes, len, err);
}

static enum tg_code add_leaf(struct walk *walk, const struct merkle_hash *leaf, struct tg_error *err)
{
    return tree_add(&walk->tree, walk->merkle, leaf, compare_tile, walk, err);
}

static enum tg_code check_present(struct walk *walk, const struct tile *tile, struct tg_error *err)
{
    struct tlog_check *check = walk->check;
    const char *entry = NULL;
    size_t len = 0;
    TG_TRY(check_partials(walk, tile, walk->bundle.data, walk->bundle.len, err));
    const uint8_t *at = walk->bundle.data;
    while (tile_next_entry(&at, walk->bundle.data + walk->bundle.len, &entry, &len)) {
        struct merkle_hash leaf;
        merkle_leaf(walk->merkle, entry, len, &leaf);
        TG_TRY(add_leaf(walk, &leaf, err));
        uint64_t announced = check->archived > 0 ? bundle_announced(entry, len) : 0;
        walk->announced = announced > walk->announced ? announced : walk->announced;
    }
    if (tile->width == TILE_WIDTH)
        check->entries = walk->tree.size;
    return TG_OK;
}

/* An archived bundle that we are not shown: the tree goes on with its hashes. */
static enum tg_code check_absent(struct walk *walk, uint64_t index, struct tg_error *err)
{
    struct tlog_check *check = walk->check;
    const struct tile bundle = {TILE_ENTRIES, index, TILE_WIDTH};
    const struct tile hashes = {0, index, TILE_WIDTH};
    char path[TILE_PATH_MAX];
    tile_path(&bundle, path);
    TG_ENSURE(check->archive < 0, err, TG_DATA_LOSS,
              "%s is neither in the log nor in its archive. Is this the right archive, and all of it?", path);
    /* While we look on, a running service may take away one after the other, the oldest first. */
    TG_ENSURE(index == 0 || !bundle_is_in(check->directory, index - 1), err, TG_DATA_LOSS,
              "%s is missing, and older ones are there: it is lost", path);
    TG_ENSURE(!bundle_has_partials(check->directory, index), err, TG_DATA_LOSS,
              "%s.p is there without its full form", path);
    TG_TRY(tile_read(check->directory, &hashes, &walk->bundle, err));
    for (unsigned i = 0; i < TILE_WIDTH; i++)
        TG_TRY(add_leaf(walk, (const struct merkle_hash *)walk->bundle.data + i, err));
    check->archived += TILE_WIDTH;
    check->entries = walk->tree.size;
    return TG_OK;
}

static enum tg_code check_bundle(struct walk *walk, uint64_t index, struct tg_error *err)
{
    struct tlog_check *check = walk->check;
    struct bundle_places places = {check->directory, check->archive};
    struct tile tile = tile_of(check->checkpoint.size, TILE_ENTRIES, index);
    bool archived = false;
    enum tg_code code = bundle_read(&places, &tile, &walk->bundle, &archived, err);
    if (code == TG_NOT_FOUND)
        return check_absent(walk, index, err);
    TG_TRY(code);
    return check_present(walk, &tile, err);
}

static enum tg_code check_entries(struct walk *walk, struct tg_error *err)
{
    enum { LOOK = 16 };
    struct tlog_check *check = walk->check;
    uint64_t bundles = check->checkpoint.size / TILE_WIDTH + (check->checkpoint.size % TILE_WIDTH > 0);
    for (uint64_t index = 0; index < bundles; index++) {
        TG_ENSURE(check->go_on == NULL || index % LOOK != 0 || check->go_on(check->arg), err, TG_CANCELLED,
                  "the verification was given up");
        TG_TRY(check_bundle(walk, index, err));
    }
    TG_TRY(tree_edge(&walk->tree, compare_tile, walk, err));
    struct merkle_hash root;
    tree_root(&walk->tree, walk->merkle, &root);
    TG_ENSURE(merkle_equal(&root, &check->checkpoint.root), err, TG_DATA_LOSS,
              "the tree of %" PRIu64 " entries is not the one that the checkpoint signs",
              check->checkpoint.size);
    TG_ENSURE(walk->announced >= check->archived, err, TG_DATA_LOSS,
              "events 0 to %" PRIu64 " are not in the log, but it announces only that %" PRIu64
              " went to an archive: the others are lost",
              check->archived - 1, walk->announced);
    check->entries = walk->tree.size;
    return TG_OK;
}

static enum tg_code check_older(struct walk *walk, struct tg_error *err)
{
    struct tlog_check *check = walk->check;
    struct checkpoint older;
    struct merkle_hash root;
    TG_TRY(checkpoint_open(check->older, check->older_len, check->keys, &older, err));
    TG_ENSURE(older.size <= check->checkpoint.size, err, TG_DATA_LOSS,
              "rolled back: the log has %" PRIu64 " entries, the older checkpoint signs %" PRIu64,
              check->checkpoint.size, older.size);
    struct proof_source source = {
        .directory = check->directory, .size = check->checkpoint.size, .merkle = walk->merkle};
    enum tg_code code = proof_root(&source, older.size, &root, err);
    proof_close(&source);
    TG_TRY(code);
    TG_ENSURE(merkle_equal(&root, &older.root), err, TG_DATA_LOSS,
              "forked: the first %" PRIu64 " entries are not those that the older checkpoint signs",
              older.size);
    return TG_OK;
}

static enum tg_code check_all(struct walk *walk, struct tg_error *err)
{
    struct tlog_check *check = walk->check;
    char *note = NULL;
    size_t len = 0;
    TG_TRY(tlog_read_checkpoint(check->directory, &note, &len, err));
    enum tg_code code = checkpoint_open(note, len, check->keys, &check->checkpoint, err);
    free(note);
    TG_TRY(code);
    TG_TRY(check_entries(walk, err));
    return check->older == NULL ? TG_OK : check_older(walk, err);
}

enum tg_code tlog_check(struct tlog_check *check, struct tg_error *err)
{
    struct walk *walk = calloc(1, sizeof *walk);
    check->entries = check->archived = 0;
    TG_ENSURE(walk != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to check the log");
    walk->check = check;
    walk->merkle = merkle_new();
    enum tg_code code = walk->merkle != NULL
                            ? check_all(walk, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory to check the log");
    tile_bytes_free(&walk->bundle);
    tile_bytes_free(&walk->seen);
    merkle_free(walk->merkle);
    free(walk);
    return code;
}
