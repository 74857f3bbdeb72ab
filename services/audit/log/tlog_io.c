#include "services/audit/log/tlog_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int system_create(int directory, const char *path, int flags)
{
    return openat(directory, path, flags | O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int system_rename(int directory, const char *from, const char *to)
{
    return renameat(directory, from, directory, to);
}

static int system_mkdir(int directory, const char *path)
{
    return mkdirat(directory, path, 0700);
}

const struct tlog_io tlog_io_system = {system_create, pwrite,        fdatasync,    fsync,
                                       ftruncate,     system_rename, system_mkdir, unlinkat};

enum tg_code tlog_disk_error(int error, const char *doing, const char *path, struct tg_error *err)
{
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no room for the audit log: %s %s: %s", doing, path,
                       strerror(error));
    return tg_fail(err, TG_UNAVAILABLE, "the audit log's disk fails: %s %s: %s", doing, path,
                   strerror(error));
}

enum tg_code tlog_write_all(const struct tlog_io *io, int fd, const char *path, const void *bytes, size_t len,
                            off_t offset, struct tg_error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = io->pwrite(fd, (const char *)bytes + done, len - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tlog_disk_error(n == 0 ? ENOSPC : errno, "write", path, err);
        done += (size_t)n;
    }
    return TG_OK;
}

enum tg_code tlog_sync_directory(const struct tlog_io *io, int directory, const char *path,
                                 struct tg_error *err)
{
    int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : io->sync_directory(fd);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 ? TG_OK : tlog_disk_error(error, "sync", path, err);
}

/* tile/0/x001/234 → tile, tile/0, tile/0/x001 */
static enum tg_code make_parents(const struct tlog_io *io, int directory, const char *path,
                                 struct tg_error *err)
{
    char parent[128];
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        if (io->mkdir(directory, parent) != 0 && errno != EEXIST)
            return tlog_disk_error(errno, "make", parent, err);
    }
    return TG_OK;
}

static enum tg_code write_temporary(const struct tlog_io *io, int directory, const char *path,
                                    const void *bytes, size_t len, struct tg_error *err)
{
    int fd = io->create(directory, path, O_TRUNC);
    if (fd < 0)
        return tlog_disk_error(errno, "create", path, err);
    enum tg_code code = tlog_write_all(io, fd, path, bytes, len, 0, err);
    if (code == TG_OK && io->sync(fd) != 0)
        code = tlog_disk_error(errno, "sync", path, err);
    close(fd);
    return code;
}

enum tg_code tlog_write_file(const struct tlog_io *io, int directory, const char *path, const void *bytes,
                             size_t len, struct tg_error *err)
{
    static const char temporary[] = "unfinished.tmp";
    TG_TRY(write_temporary(io, directory, temporary, bytes, len, err));
    if (io->rename(directory, temporary, path) == 0)
        return TG_OK;
    if (errno != ENOENT)
        return tlog_disk_error(errno, "rename", path, err);
    TG_TRY(make_parents(io, directory, path, err));
    return io->rename(directory, temporary, path) == 0 ? TG_OK : tlog_disk_error(errno, "rename", path, err);
}
