#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file_io.h"

/* The temporary file beside `path` (same file system, so that rename is atomic). */
struct draft {
    int fd;
    bool placed;
    char path[PATH_MAX];
};

static void draft_cleanup(struct draft *draft)
{
    int saved_errno = errno;
    if (draft->fd >= 0) {
        close(draft->fd);
        if (!draft->placed)
            unlink(draft->path);
    }
    errno = saved_errno;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, bytes, len);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            bytes += done;
            len -= (size_t)done;
        }
    }
    return true;
}

/* mkostemp makes the file with mode 0600 (glibc). */
static enum tg_code draft_write(struct draft *draft, const char *path, const void *bytes, size_t len,
                                struct tg_error *err)
{
    int n = snprintf(draft->path, sizeof draft->path, "%s.XXXXXX", path);
    TG_ENSURE(n > 0 && (size_t)n < sizeof draft->path, err, TG_INVALID_ARGUMENT, "%.64s...: path is too long",
              path);
    draft->fd = mkostemp(draft->path, O_CLOEXEC);
    if (draft->fd < 0)
        return file_fail_errno(err, path, "cannot make a temporary file beside it");
    if (!write_all(draft->fd, bytes, len) || fsync(draft->fd) != 0)
        return file_fail_errno(err, path, "cannot be written");
    return TG_OK;
}

enum tg_code file_sync_directory(const char *path, struct tg_error *err)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    TG_INVARIANT(len < sizeof directory);
    memcpy(directory, path, len);
    directory[len] = '\0';
    int fd = open(len == 0 ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    enum tg_code code = rc == 0 ? TG_OK : file_fail_errno(err, path, "its directory cannot be synced");
    if (fd >= 0)
        close(fd);
    return code;
}

/* Not every file system knows RENAME_NOREPLACE (NFS), and not every one hard links (FAT): one of both will
 * do. */
static int rename_new(const char *from, const char *to)
{
    int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (rc != 0 && errno == EINVAL) {
        rc = link(from, to);
        if (rc == 0)
            unlink(from);
    }
    return rc;
}

enum tg_code file_write_new(const char *path, const void *bytes, size_t len, struct tg_error *err)
{
    TG_CLEANUP(draft_cleanup) struct draft draft = {.fd = -1};
    TG_TRY(draft_write(&draft, path, bytes, len, err));
    if (rename_new(draft.path, path) != 0)
        return file_fail_errno(err, path, "cannot be created");
    draft.placed = true;
    return file_sync_directory(path, err);
}

enum tg_code file_replace(const char *path, const void *bytes, size_t len, struct tg_error *err)
{
    char target[PATH_MAX];
    if (realpath(path, target) == NULL) {
        if (errno != ENOENT)
            return file_fail_errno(err, path, "cannot be replaced");
        TG_ENSURE(strlen(path) < sizeof target, err, TG_INVALID_ARGUMENT, "%.64s...: path is too long", path);
        memcpy(target, path, strlen(path) + 1);
    }
    TG_CLEANUP(draft_cleanup) struct draft draft = {.fd = -1};
    TG_TRY(draft_write(&draft, target, bytes, len, err));
    if (rename(draft.path, target) != 0)
        return file_fail_errno(err, path, "cannot be replaced");
    draft.placed = true;
    return file_sync_directory(target, err);
}
