/* What shim_power.so remembers of writes and names that were not synced, and the power cut that takes them
 * back.
 *
 * In its directory lie, for each file that was written to: INODE.file, a hard link, and INODE.undo, what to
 * do to get back to what was synced last; and `names`, the same for directories. All of it is written before
 * the thing itself is done, so that kill -9 leaves it complete. Several processes in a row may use one
 * directory, not two at once. */
#ifndef TG_TESTS_CRASH_POWER_H
#define TG_TESTS_CRASH_POWER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* INODE.undo: where the records begin that are not synced yet, and records. */
struct undo_head {
    uint64_t start;
};
struct undo_record { /* and then the `len` bytes that stood at `offset`, and zeroes up to UNDO_SPACE(len) */
    uint64_t size;   /* of the whole file before */
    uint64_t offset;
    uint32_t len;
    uint32_t shrinks; /* a truncation that took bytes away */
};

#define UNDO_SPACE(len) (((size_t)(len) + 7) / 8 * 8)

enum name_kind {
    NAME_CREATED = 1,
    NAME_DIRECTORY,
    NAME_NO_DIRECTORY,
    NAME_RENAMED,
    NAME_REMOVED,
    NAME_SYNCED
};
enum { NAME_PATH_MAX = 400 };
struct name_record {
    uint32_t kind;
    uint32_t upto;      /* NAME_SYNCED: so many records before it */
    uint64_t directory; /* inode of the directory that must be synced to make it last */
    uint64_t kept;      /* inode of what was replaced or removed; 0: nothing */
    char path[NAME_PATH_MAX];
    char from[NAME_PATH_MAX]; /* NAME_RENAMED */
};

/* Takes back what was not synced. With `some`, a random part of it stays, as a disk may have written it
 * before the power went: pages of the files, and the first of the names. Forgets all in any case. Nothing
 * under test may be running. False: the directory could not be read, or something could not be undone (said
 * on stderr). */
bool power_cut(const char *directory, bool some, uint64_t seed);
/* All that was written counts as synced. */
bool power_forget(const char *directory);

#endif
