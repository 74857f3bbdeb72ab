/* Every checkpoint that was ever in sight: whoever has seen one may hold the log to it, whatever became of
 * the disk. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/trace.h"
#include "services/audit/log/checkpoint.h"
#include "services/audit/log/proof.h"
#include "services/audit/log/tlog_check.h"
#include "tests/crash/crash.h"

enum { CATCH_UP_MS = 30000, LOOK_AGAIN_US = 20000, TRIES = 20 };

static struct {
    struct checkpoint *all;
    size_t count, room, good; /* `good`: so many have been found to agree with the log */
} seen;

static bool read_now(int directory, struct checkpoint *out)
{
    char *note = NULL;
    size_t len = 0;
    struct tg_error err;
    if (tlog_read_checkpoint(directory, &note, &len, &err) != TG_OK)
        return false;
    const char *end = strstr(note, "\n\n"); /* whose signatures are checked when the log is verified */
    bool good = end != NULL && checkpoint_parse(note, (size_t)(end + 1 - note), out, &err) == TG_OK;
    if (!good)
        found(INCONSISTENT, "a checkpoint that is none: %s", note);
    free(note);
    return good;
}

static int open_log(void)
{
    return open(instance_path(bank.instance, "data/audit"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void checkpoints_look(void)
{
    struct checkpoint now;
    int directory = open_log();
    bool there = read_now(directory, &now);
    close(directory);
    const struct checkpoint *last = seen.all != NULL && seen.count > 0 ? &seen.all[seen.count - 1] : NULL;
    if (!there || (last != NULL && last->size == now.size && merkle_equal(&last->root, &now.root)))
        return;
    if (seen.all == NULL || seen.count == seen.room) {
        seen.room = seen.room == 0 ? 256 : 2 * seen.room;
        seen.all = realloc(seen.all, seen.room * sizeof *seen.all);
    }
    TG_INVARIANT(seen.all != NULL);
    seen.all[seen.count++] = now;
}

/* The log as it is signed for now, once that covers all that was ever signed for. */
static bool await_size(int directory, uint64_t size, struct checkpoint *now)
{
    uint64_t deadline_ms = clock_now_ms() + CATCH_UP_MS;
    while (!read_now(directory, now) || now->size < size) {
        if (clock_now_ms() > deadline_ms) {
            found(INCONSISTENT, "%" PRIu64 " entries were signed for, and now only %" PRIu64, size,
                  now->size);
            return false;
        }
        usleep(LOOK_AGAIN_US);
    }
    return true;
}

/* False: a tile went away between reading the checkpoint and now, as the log grows; with a newer one it goes
 * better. */
static bool check_from(int directory, const struct checkpoint *now, size_t *next, struct tg_error *err)
{
    struct proof_source source = {.directory = directory, .size = now->size, .merkle = merkle_new()};
    struct merkle_hash root;
    if (source.merkle == NULL)
        abort();
    for (; *next < seen.count; ++*next) {
        const struct checkpoint *old = &seen.all[*next];
        if (old->size > 0 && proof_root(&source, old->size, &root, err) != TG_OK)
            break;
        if (old->size > 0 && !merkle_equal(&root, &old->root))
            found(INCONSISTENT, "another tree of %" PRIu64 " entries was signed before", old->size);
    }
    proof_close(&source);
    merkle_free(source.merkle);
    return *next == seen.count;
}

static uint64_t largest_seen(void)
{
    uint64_t size = 0;
    for (size_t i = 0; i < seen.count; i++)
        if (seen.all[i].size > size)
            size = seen.all[i].size;
    return size;
}

void checkpoints_check(bool all)
{
    struct checkpoint now = {.size = 0};
    struct tg_error err = {.text = "no checkpoint"};
    int directory = open_log();
    size_t next = all ? 0 : seen.good;
    bool done = false;
    for (int tries = 0; !done && tries < TRIES && await_size(directory, largest_seen(), &now); tries++)
        done = check_from(directory, &now, &next, &err);
    if (!done)
        found(INCONSISTENT, "the tree of a checkpoint cannot be had any more: %s", err.text);
    seen.good = next;
    close(directory);
    tally.checkpoints = seen.count;
}
