/* shim_power.so: remembers, in the directory TG_POWER_DIR, what must be undone in files under TG_SHIM_DIRS to
 * get back to what was synced (power.h). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/power.h"
#include "tests/crash/shim.h"

static int store = -1; /* TG_POWER_DIR */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A shim that cannot remember would make a test pass that should not. */
static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "shim_power: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void start(void)
{
    SHIM_REAL(openat);
    const char *path = getenv("TG_POWER_DIR");
    must(path != NULL, "TG_POWER_DIR is not set");
    store = real_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(store >= 0, path);
}

static int open_store(const char *name, int flags)
{
    SHIM_REAL(openat);
    return real_openat(store, name, flags | O_CLOEXEC, 0600);
}

static void close_store(int fd)
{
    SHIM_REAL(close);
    real_close(fd);
}

static void put(int fd, const void *bytes, size_t len, off_t at)
{
    SHIM_REAL(pwrite);
    must(real_pwrite(fd, bytes, len, at) == (ssize_t)len, "writing down what to undo");
}

static off_t end_of(int fd)
{
    struct stat st;
    must(fstat(fd, &st) == 0, "fstat");
    return st.st_size;
}

/* ---- bytes ---- */

static void undo_name(ino_t inode, char out[48])
{
    snprintf(out, 48, "%llu.undo", (unsigned long long)inode);
}

/* A hard link, so that the inode stays and can be found again. */
static void keep_fd(int fd, ino_t inode)
{
    char from[64];
    char name[48];
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(name, sizeof name, "%llu.file", (unsigned long long)inode);
    must(linkat(AT_FDCWD, from, store, name, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST, "keeping a file");
}

static int open_undo(int fd, ino_t inode)
{
    char name[48];
    undo_name(inode, name);
    int undo = open_store(name, O_RDWR);
    if (undo < 0) {
        keep_fd(fd, inode);
        undo = open_store(name, O_RDWR | O_CREAT);
    }
    must(undo >= 0, name);
    if (end_of(undo) < (off_t)sizeof(struct undo_head))
        put(undo, &(struct undo_head){.start = sizeof(struct undo_head)}, sizeof(struct undo_head), 0);
    return undo;
}

/* Before bytes from `offset` on are written over, or the file is cut off there. */
static void remember(int fd, off_t offset, size_t len, bool cut)
{
    struct stat st;
    must(fstat(fd, &st) == 0, "fstat");
    if (!S_ISREG(st.st_mode) || st.st_nlink == 0)
        return;
    struct undo_record record = {.size = (uint64_t)st.st_size, .offset = (uint64_t)offset};
    if (offset < st.st_size) {
        uint64_t there = (uint64_t)(st.st_size - offset);
        record.len = (uint32_t)(cut || len > there ? there : len);
        record.shrinks = cut;
    }
    size_t space = sizeof record + UNDO_SPACE(record.len);
    uint8_t *whole = calloc(1, space);
    must(whole != NULL, "memory");
    memcpy(whole, &record, sizeof record);
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int in = open_store(self, O_RDONLY); /* ours may be open for writing only */
    must(in >= 0 && pread(in, whole + sizeof record, record.len, offset) == (ssize_t)record.len,
         "reading old bytes");
    close_store(in);
    int undo = open_undo(fd, st.st_ino);
    put(undo, whole, space, end_of(undo));
    close_store(undo);
    free(whole);
}

/* The journal's length now; 0: there is none. */
static off_t journal_end(int fd)
{
    struct stat st;
    char name[48];
    must(fstat(fd, &st) == 0, "fstat");
    undo_name(st.st_ino, name);
    int undo = open_store(name, O_RDONLY);
    off_t end = undo >= 0 ? end_of(undo) : 0;
    if (undo >= 0)
        close_store(undo);
    return end;
}

/* What was written down before `end` is on the disk. */
static void forget_bytes(int fd, off_t end)
{
    SHIM_REAL(ftruncate);
    struct stat st;
    char name[48];
    must(fstat(fd, &st) == 0, "fstat");
    undo_name(st.st_ino, name);
    int undo = end > 0 ? open_store(name, O_RDWR) : -1;
    if (undo < 0)
        return;
    if (end_of(undo) == end)
        must(real_ftruncate(undo, 0) == 0, "ftruncate");
    else
        put(undo, &(struct undo_head){.start = (uint64_t)end}, sizeof(struct undo_head), 0);
    close_store(undo);
}

/* ---- names ---- */

static uint64_t inode_of_parent(const char *path)
{
    char parent[PATH_MAX];
    struct stat st;
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    return stat(parent, &st) == 0 ? st.st_ino : 0;
}

static uint32_t add_name(const struct name_record *record)
{
    int names = open_store("names", O_RDWR | O_CREAT);
    must(names >= 0, "names");
    off_t end = end_of(names);
    if (record != NULL)
        put(names, record, sizeof *record, end);
    close_store(names);
    return (uint32_t)((size_t)end / sizeof *record);
}

static void name_changes(enum name_kind kind, const char *path, const char *from, uint64_t kept)
{
    struct name_record record = {.kind = kind, .directory = inode_of_parent(path), .kept = kept};
    must(strlen(path) < NAME_PATH_MAX && strlen(from) < NAME_PATH_MAX, "path too long");
    strcpy(record.path, path);
    strcpy(record.from, from);
    (void)add_name(&record);
}

/* What a rename or unlink is about to make disappear. */
static uint64_t keep_path(const char *path)
{
    struct stat st;
    SHIM_REAL(openat);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    int fd = real_openat(AT_FDCWD, path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    must(fd >= 0, path);
    keep_fd(fd, st.st_ino);
    close_store(fd);
    return st.st_ino;
}

/* ---- opening ---- */

static int opening(int at, const char *path, int flags, mode_t mode)
{
    SHIM_REAL(openat);
    char absolute[PATH_MAX];
    bool counts = shim_resolve(at, path, absolute);
    pthread_mutex_lock(&lock);
    bool there = counts && access(absolute, F_OK) == 0;
    if (counts && !there && (flags & O_CREAT) != 0)
        name_changes(NAME_CREATED, absolute, "", 0);
    if (there && (flags & O_TRUNC) != 0) {
        int old = real_openat(AT_FDCWD, absolute, O_RDONLY | O_CLOEXEC);
        if (old >= 0) {
            remember(old, 0, 0, true);
            close_store(old);
        }
    }
    int fd = real_openat(at, path, flags, mode);
    int why = errno;
    shim_opened(fd);
    pthread_mutex_unlock(&lock);
    errno = why;
    return fd;
}

SHIM_EXPORT int open(const char *path, int flags, ...)
{
    SHIM_OPEN_MODE(flags)
    return opening(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) SHIM_ALIAS(open);

SHIM_EXPORT int openat(int at, const char *path, int flags, ...)
{
    SHIM_OPEN_MODE(flags)
    return opening(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) SHIM_ALIAS(openat);

int __open_2(const char *path, int flags);
SHIM_EXPORT int __open_2(const char *path, int flags)
{
    return opening(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags) SHIM_ALIAS(__open_2);

int __openat_2(int at, const char *path, int flags);
SHIM_EXPORT int __openat_2(int at, const char *path, int flags)
{
    return opening(at, path, flags, 0);
}
int __openat64_2(int at, const char *path, int flags) SHIM_ALIAS(__openat_2);

/* The name is known only afterwards; a kill in between leaves a file more, as a disk may. */
SHIM_EXPORT int mkostemp(char *template, int flags)
{
    SHIM_REAL(mkostemp);
    char absolute[PATH_MAX];
    pthread_mutex_lock(&lock);
    int fd = real_mkostemp(template, flags);
    int why = errno;
    if (fd >= 0 && shim_resolve(AT_FDCWD, template, absolute))
        name_changes(NAME_CREATED, absolute, "", 0);
    shim_opened(fd);
    pthread_mutex_unlock(&lock);
    errno = why;
    return fd;
}
int mkostemp64(char *template, int flags) SHIM_ALIAS(mkostemp);

SHIM_EXPORT int close(int fd)
{
    SHIM_REAL(close);
    shim_closed(fd);
    return real_close(fd);
}

SHIM_EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
    SHIM_REAL(mkdirat);
    char absolute[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (shim_resolve(at, path, absolute) && access(absolute, F_OK) != 0)
        name_changes(NAME_DIRECTORY, absolute, "", 0);
    int rc = real_mkdirat(at, path, mode);
    pthread_mutex_unlock(&lock);
    return rc;
}

SHIM_EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- writing ---- */

static size_t total(const struct iovec *parts, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    return len;
}

/* Where write(2) will write. */
static off_t position(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return (flags & O_APPEND) != 0 ? end_of(fd) : lseek(fd, 0, SEEK_CUR);
}

/* `call` with what it overwrites remembered, both as one. */
#define REMEMBERING(fd, offset, len, cut, call)                                                              \
    do {                                                                                                     \
        if (!shim_tracks(fd))                                                                                \
            return call;                                                                                     \
        pthread_mutex_lock(&lock);                                                                           \
        remember(fd, offset, len, cut);                                                                      \
        __typeof__(call) result_ = call;                                                                     \
        int why_ = errno;                                                                                    \
        pthread_mutex_unlock(&lock);                                                                         \
        errno = why_;                                                                                        \
        return result_;                                                                                      \
    } while (0)

SHIM_EXPORT ssize_t write(int fd, const void *bytes, size_t len)
{
    SHIM_REAL(write);
    REMEMBERING(fd, position(fd), len, false, real_write(fd, bytes, len));
}

SHIM_EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    SHIM_REAL(pwrite);
    REMEMBERING(fd, offset, len, false, real_pwrite(fd, bytes, len, offset));
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset) SHIM_ALIAS(pwrite);

SHIM_EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    SHIM_REAL(writev);
    REMEMBERING(fd, position(fd), total(parts, count), false, real_writev(fd, parts, count));
}

SHIM_EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    SHIM_REAL(pwritev);
    REMEMBERING(fd, offset, total(parts, count), false, real_pwritev(fd, parts, count, offset));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) SHIM_ALIAS(pwritev);

SHIM_EXPORT int ftruncate(int fd, off_t len)
{
    SHIM_REAL(ftruncate);
    REMEMBERING(fd, len, 0, true, real_ftruncate(fd, len));
}
int ftruncate64(int fd, off_t len) SHIM_ALIAS(ftruncate);

SHIM_EXPORT int posix_fallocate(int fd, off_t offset, off_t len)
{
    SHIM_REAL(posix_fallocate);
    REMEMBERING(fd, end_of(fd), 0, false, real_posix_fallocate(fd, offset, len));
}
int posix_fallocate64(int fd, off_t offset, off_t len) SHIM_ALIAS(posix_fallocate);

SHIM_EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    SHIM_REAL(fallocate);
    must(!shim_tracks(fd) || (mode & ~FALLOC_FL_KEEP_SIZE) == 0,
         "fallocate in a mode that is not known here");
    REMEMBERING(fd, end_of(fd), 0, false, real_fallocate(fd, mode, offset, len));
}
int fallocate64(int fd, int mode, off_t offset, off_t len) SHIM_ALIAS(fallocate);

/* ---- syncing ---- */

static int syncing(int fd, int (*real)(int))
{
    struct stat st;
    if (!shim_tracks(fd) || fstat(fd, &st) != 0)
        return real(fd);
    pthread_mutex_lock(&lock);
    off_t end = journal_end(fd);
    uint32_t names = add_name(NULL);
    pthread_mutex_unlock(&lock);
    int rc = real(fd);
    int why = errno;
    pthread_mutex_lock(&lock);
    if (rc == 0 && S_ISDIR(st.st_mode))
        (void)add_name(&(struct name_record){.kind = NAME_SYNCED, .upto = names, .directory = st.st_ino});
    else if (rc == 0)
        forget_bytes(fd, end);
    pthread_mutex_unlock(&lock);
    errno = why;
    return rc;
}

SHIM_EXPORT int fsync(int fd)
{
    SHIM_REAL(fsync);
    return syncing(fd, real_fsync);
}

SHIM_EXPORT int fdatasync(int fd)
{
    SHIM_REAL(fdatasync);
    return syncing(fd, real_fdatasync);
}

/* ---- names ---- */

SHIM_EXPORT int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    SHIM_REAL(renameat2);
    char source[PATH_MAX];
    char target[PATH_MAX];
    if (!shim_resolve(from_at, from, source) || !shim_resolve(to_at, to, target))
        return real_renameat2(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    bool will_do = access(source, F_OK) == 0 && inode_of_parent(target) != 0 &&
                   ((flags & RENAME_NOREPLACE) == 0 || access(target, F_OK) != 0);
    if (will_do)
        name_changes(NAME_RENAMED, target, source, keep_path(target));
    int rc = real_renameat2(from_at, from, to_at, to, flags);
    must(rc == 0 || !will_do, "a rename failed that was taken for sure");
    int why = errno;
    pthread_mutex_unlock(&lock);
    errno = why;
    return rc;
}

SHIM_EXPORT int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return renameat2(from_at, from, to_at, to, 0);
}

SHIM_EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

SHIM_EXPORT int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    SHIM_REAL(linkat);
    char target[PATH_MAX];
    if (!shim_resolve(to_at, to, target))
        return real_linkat(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    if (access(target, F_OK) != 0)
        name_changes(NAME_CREATED, target, "", 0);
    int rc = real_linkat(from_at, from, to_at, to, flags);
    int why = errno;
    pthread_mutex_unlock(&lock);
    errno = why;
    return rc;
}

SHIM_EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void remember_removal(const char *path, bool directory)
{
    struct stat st;
    uint64_t kept = directory ? 0 : keep_path(path);
    if (kept != 0)
        name_changes(NAME_REMOVED, path, "", kept);
    else if (directory && stat(path, &st) == 0)
        name_changes(NAME_NO_DIRECTORY, path, "", 0);
}

SHIM_EXPORT int unlinkat(int at, const char *path, int flags)
{
    SHIM_REAL(unlinkat);
    char absolute[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (shim_resolve(at, path, absolute))
        remember_removal(absolute, flags == AT_REMOVEDIR);
    int rc = real_unlinkat(at, path, flags);
    int why = errno;
    pthread_mutex_unlock(&lock);
    errno = why;
    return rc;
}

SHIM_EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

SHIM_EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}
