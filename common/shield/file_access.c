#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_io.h"
#include "common/shield/file_internal.h"

static enum tg_code check_file(const char *path, int fd, struct tg_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return file_fail_errno(err, path, "cannot look at the shield");
    TG_ENSURE(S_ISREG(st.st_mode), err, TG_DATA_LOSS, "%s: not a shield container", path);
    TG_ENSURE((st.st_mode & (S_IRWXG | S_IRWXO)) == 0, err, TG_PERMISSION_DENIED,
              "%s: others may read or change it (mode %04o): chmod 0600, or mount the disk with umask=077",
              path, st.st_mode & 07777U);
    TG_ENSURE(st.st_size <= CONTAINER_MAX, err, TG_DATA_LOSS, "%s: too large for a shield container", path);
    return TG_OK;
}

enum tg_code shield_file_open_fd(const char *path, int *fd, struct tg_error *err)
{
    /* O_NONBLOCK: a FIFO in its place must not stop us; it is refused below. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (opened < 0)
        return file_fail_errno(err, path, "cannot open the shield");
    enum tg_code code = check_file(path, opened, err);
    if (code == TG_OK)
        *fd = opened;
    else
        close(opened);
    return code;
}

enum tg_code shield_file_read(const char *path, int fd, uint8_t **bytes, size_t *len, struct tg_error *err)
{
    uint8_t *out = malloc(CONTAINER_MAX + 1);
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the shield container");
    ssize_t n = file_read_up_to(fd, out, CONTAINER_MAX + 1);
    if (n < 0) {
        free(out);
        return file_fail_errno(err, path, "cannot read the shield");
    }
    *bytes = out;
    *len = (size_t)n;
    return TG_OK;
}

enum tg_code shield_file_same(const char *path, int fd, struct tg_error *err)
{
    struct stat opened;
    struct stat named;
    TG_ENSURE(fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
                  opened.st_ino == named.st_ino,
              err, TG_UNAVAILABLE, "%s: the shield was removed or replaced: insert it again", path);
    return TG_OK;
}

static enum tg_code take_lock(const char *path, int fd, struct tg_error *err)
{
    int rc = flock(fd, LOCK_EX | LOCK_NB);
    TG_ENSURE(rc == 0 || errno != EWOULDBLOCK, err, TG_UNAVAILABLE,
              "%s: another program is using this shield: wait until it has ended", path);
    return rc == 0 ? TG_OK : file_fail_errno(err, path, "cannot lock the shield");
}

enum tg_code shield_file_lock(const char *path, int *fd, struct tg_error *err)
{
    char lock[PATH_MAX + 8];
    int n = snprintf(lock, sizeof lock, "%s.lock", path);
    TG_ENSURE(n > 0 && n < PATH_MAX, err, TG_INVALID_ARGUMENT, "%.64s...: path is too long", path);
    int opened = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (opened < 0)
        return file_fail_errno(err, lock, "cannot lock the shield");
    enum tg_code code = take_lock(path, opened, err);
    if (code == TG_OK)
        *fd = opened;
    else
        close(opened);
    return code;
}
