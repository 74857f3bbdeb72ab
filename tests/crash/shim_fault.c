/* shim_fault.so: writes, syncs, renames and truncations of files under TG_SHIM_DIRS fail at random with EIO
 * or ENOSPC, as often as TG_FAULT_CONTROL says (fault.h). A third of the writes that fail do half of their
 * work first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/fault.h"
#include "tests/crash/shim.h"

static struct fault_control *control;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("TG_FAULT_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page =
        fd >= 0 ? mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED) {
        fputs("shim_fault: TG_FAULT_CONTROL cannot be mapped\n", stderr);
        abort();
    }
    control = page;
}

/* splitmix64: each call draws the next number, whichever thread it is on. */
static uint64_t draw(void)
{
    uint64_t x = atomic_fetch_add(&control->seed, UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool strikes(uint32_t call)
{
    uint32_t per_million = control != NULL ? atomic_load(&control->per_million) : 0;
    if (per_million == 0 || (atomic_load(&control->calls) & call) == 0 || draw() % 1000000 >= per_million)
        return false;
    atomic_fetch_add(&control->injected, 1);
    errno = draw() % 2 == 0 ? EIO : ENOSPC;
    return true;
}

static bool strikes_fd(int fd, uint32_t call)
{
    return shim_tracks(fd) && strikes(call);
}

static bool strikes_path(int at, const char *path, uint32_t call)
{
    char absolute[PATH_MAX];
    int before = errno;
    bool counts = shim_resolve(at, path, absolute);
    errno = before;
    return counts && strikes(call);
}

static bool lies(int fd)
{
    return control != NULL && atomic_load(&control->lies) != 0 && shim_tracks(fd);
}

/* How much of a write that fails is done nevertheless. */
static size_t half(size_t len)
{
    return draw() % 3 == 0 ? len / 2 : 0;
}

/* ---- opening ---- */

static int opened(int fd)
{
    int before = errno;
    shim_opened(fd);
    errno = before;
    return fd;
}

SHIM_EXPORT int open(const char *path, int flags, ...)
{
    SHIM_OPEN_MODE(flags)
    SHIM_REAL(openat);
    return opened(real_openat(AT_FDCWD, path, flags, mode));
}
int open64(const char *path, int flags, ...) SHIM_ALIAS(open);

SHIM_EXPORT int openat(int at, const char *path, int flags, ...)
{
    SHIM_OPEN_MODE(flags)
    SHIM_REAL(openat);
    return opened(real_openat(at, path, flags, mode));
}
int openat64(int at, const char *path, int flags, ...) SHIM_ALIAS(openat);

int __open_2(const char *path, int flags);
SHIM_EXPORT int __open_2(const char *path, int flags)
{
    SHIM_REAL(openat);
    return opened(real_openat(AT_FDCWD, path, flags));
}
int __open64_2(const char *path, int flags) SHIM_ALIAS(__open_2);

int __openat_2(int at, const char *path, int flags);
SHIM_EXPORT int __openat_2(int at, const char *path, int flags)
{
    SHIM_REAL(openat);
    return opened(real_openat(at, path, flags));
}
int __openat64_2(int at, const char *path, int flags) SHIM_ALIAS(__openat_2);

SHIM_EXPORT int mkostemp(char *template, int flags)
{
    SHIM_REAL(mkostemp);
    return opened(real_mkostemp(template, flags));
}
int mkostemp64(char *template, int flags) SHIM_ALIAS(mkostemp);

SHIM_EXPORT int close(int fd)
{
    SHIM_REAL(close);
    shim_closed(fd);
    return real_close(fd);
}

/* ---- what fails ---- */

SHIM_EXPORT ssize_t write(int fd, const void *bytes, size_t len)
{
    SHIM_REAL(write);
    if (!strikes_fd(fd, FAULT_WRITE))
        return real_write(fd, bytes, len);
    int why = errno;
    size_t some = half(len);
    if (some > 0)
        return real_write(fd, bytes, some);
    errno = why;
    return -1;
}

SHIM_EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    SHIM_REAL(pwrite);
    if (!strikes_fd(fd, FAULT_WRITE))
        return real_pwrite(fd, bytes, len, offset);
    int why = errno;
    size_t some = half(len);
    if (some > 0)
        return real_pwrite(fd, bytes, some, offset);
    errno = why;
    return -1;
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset) SHIM_ALIAS(pwrite);

SHIM_EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    SHIM_REAL(writev);
    return strikes_fd(fd, FAULT_WRITE) ? -1 : real_writev(fd, parts, count);
}

SHIM_EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    SHIM_REAL(pwritev);
    return strikes_fd(fd, FAULT_WRITE) ? -1 : real_pwritev(fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) SHIM_ALIAS(pwritev);

SHIM_EXPORT int fsync(int fd)
{
    SHIM_REAL(fsync);
    return lies(fd) ? 0 : strikes_fd(fd, FAULT_SYNC) ? -1 : real_fsync(fd);
}

SHIM_EXPORT int fdatasync(int fd)
{
    SHIM_REAL(fdatasync);
    return lies(fd) ? 0 : strikes_fd(fd, FAULT_SYNC) ? -1 : real_fdatasync(fd);
}

SHIM_EXPORT int ftruncate(int fd, off_t len)
{
    SHIM_REAL(ftruncate);
    return strikes_fd(fd, FAULT_TRUNCATE) ? -1 : real_ftruncate(fd, len);
}
int ftruncate64(int fd, off_t len) SHIM_ALIAS(ftruncate);

SHIM_EXPORT int rename(const char *from, const char *to)
{
    SHIM_REAL(rename);
    return strikes_path(AT_FDCWD, to, FAULT_NAME) ? -1 : real_rename(from, to);
}

SHIM_EXPORT int renameat(int from_at, const char *from, int to_at, const char *to)
{
    SHIM_REAL(renameat);
    return strikes_path(to_at, to, FAULT_NAME) ? -1 : real_renameat(from_at, from, to_at, to);
}

SHIM_EXPORT int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    SHIM_REAL(renameat2);
    return strikes_path(to_at, to, FAULT_NAME) ? -1 : real_renameat2(from_at, from, to_at, to, flags);
}
