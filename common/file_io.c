#include "common/file_io.h"

#include <errno.h>
#include <unistd.h>

static enum tg_code code_of(int number)
{
    switch (number) {
    case ENOENT:
        return TG_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return TG_PERMISSION_DENIED;
    case EEXIST:
        return TG_ALREADY_EXISTS;
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO: /* a socket, or a device that is not there */
    case EBADF:
        return TG_INVALID_ARGUMENT;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return TG_RESOURCE_EXHAUSTED;
    default:
        return TG_INTERNAL;
    }
}

enum tg_code file_fail_errno(struct tg_error *err, const char *path, const char *what)
{
    int number = errno;
    return tg_fail(err, code_of(number), "%s: %s: %m", path, what);
}

ssize_t file_read_up_to(int fd, void *into, size_t len)
{
    char *at = into;
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, at + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}
