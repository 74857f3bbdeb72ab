/* A disk that fails, or on which the process is killed, at any step: each call that writes is one. */
#ifndef TG_TEST_BAD_DISK_H
#define TG_TEST_BAD_DISK_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "services/audit/log/tlog_io.h"

static struct {
    atomic_long steps; /* until it fails or the process ends; negative: never */
    atomic_bool kill;  /* end the process there, instead of failing */
    atomic_bool after; /* once the step is done, instead of before */
    atomic_bool once;  /* fail at that step only */
    atomic_bool failing;
    atomic_int error;
} disk;

static inline void disk_heal(void)
{
    atomic_store(&disk.steps, -1);
    atomic_store(&disk.failing, false);
}

static inline void disk_fail_at(long step, int error, bool once)
{
    atomic_store(&disk.error, error);
    atomic_store(&disk.once, once);
    atomic_store(&disk.failing, false);
    atomic_store(&disk.steps, step);
}

/* False: this step fails, errno says why. */
static inline bool step_begins(void)
{
    bool now = atomic_load(&disk.steps) >= 0 && atomic_fetch_sub(&disk.steps, 1) == 0;
    if (now && atomic_load(&disk.kill) && !atomic_load(&disk.after))
        _exit(9);
    if (now && !atomic_load(&disk.kill)) {
        atomic_store(&disk.failing, !atomic_load(&disk.once));
        errno = atomic_load(&disk.error);
        return false;
    }
    if (!atomic_load(&disk.failing))
        return true;
    errno = atomic_load(&disk.error);
    return false;
}

static inline void step_ends(void)
{
    if (atomic_load(&disk.kill) && atomic_load(&disk.after) && atomic_load(&disk.steps) == -1)
        _exit(9);
}

#define STEP(call)                                                                                           \
    if (!step_begins())                                                                                      \
        return -1;                                                                                           \
    __typeof__(call) result = (call);                                                                        \
    step_ends();                                                                                             \
    return result

static int bad_create(int directory, const char *path, int flags)
{
    STEP(tlog_io_system.create(directory, path, flags));
}

static ssize_t bad_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    STEP(tlog_io_system.pwrite(fd, bytes, len, offset));
}

static int bad_ftruncate(int fd, off_t len)
{
    STEP(tlog_io_system.ftruncate(fd, len));
}

static int bad_rename(int directory, const char *from, const char *to)
{
    STEP(tlog_io_system.rename(directory, from, to));
}

static int bad_mkdir(int directory, const char *path)
{
    STEP(tlog_io_system.mkdir(directory, path));
}

static int bad_unlink(int directory, const char *path, int flags)
{
    STEP(tlog_io_system.unlink(directory, path, flags));
}

static int bad_sync(int fd)
{
    (void)fd; /* a killed process loses nothing that the kernel has */
    return step_begins() ? (step_ends(), 0) : -1;
}

static const struct tlog_io bad_io = {bad_create,    bad_pwrite, bad_sync,  bad_sync,
                                      bad_ftruncate, bad_rename, bad_mkdir, bad_unlink};

#endif
