#include "common/file.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_io.h"

enum { SECRET_FILE_MAX = 4096, LINE_SECRET_MAX = 1024, LINE_ROOM = LINE_SECRET_MAX + 2 /* "\r\n" */ };

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Opens a regular file. O_NONBLOCK, so that a FIFO without a writer cannot hold us up: it is refused a line
 * later. */
static enum tg_code open_regular(const char *path, int *fd, struct stat *about, struct tg_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, about) != 0)
        return file_fail_errno(err, path, "cannot be opened");
    TG_ENSURE(S_ISREG(about->st_mode), err, TG_INVALID_ARGUMENT, "%s: is not a regular file", path);
    return TG_OK;
}

/* Private: nobody else can read or write it. A file of root's that we may read as members of its group (or by
 * an ACL, whose mask shows as the group's bits) is as good: that is how Kubernetes and systemd hand out
 * secrets to processes without root's rights. PostgreSQL judges its key files the same way. */
static bool is_private(const struct stat *about)
{
    const mode_t others = S_IWGRP | S_IROTH | S_IWOTH;
    if ((about->st_mode & others) != 0)
        return false;
    return (about->st_mode & S_IRGRP) == 0 || (about->st_uid == 0 && geteuid() != 0);
}

static enum tg_code open_private(const char *path, int *fd, struct stat *about, struct tg_error *err)
{
    TG_TRY(open_regular(path, fd, about, err));
    TG_ENSURE(is_private(about), err, TG_PERMISSION_DENIED,
              "%s: others can read or write this secret (mode %04o): chmod 0400 it", path,
              (unsigned)about->st_mode & 07777U);
    return TG_OK;
}

enum tg_code file_read(const char *path, size_t max, char **bytes, size_t *len, struct tg_error *err)
{
    TG_CLEANUP(close_fd) int fd = -1;
    struct stat about = {0};
    TG_TRY(open_regular(path, &fd, &about, err));
    TG_ENSURE(about.st_size >= 0 && (uintmax_t)about.st_size <= max, err, TG_INVALID_ARGUMENT,
              "%s: has %lld bytes, at most %zu are read", path, (long long)about.st_size, max);
    size_t size = (size_t)about.st_size;
    char *text = malloc(size + 1);
    TG_ENSURE(text != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: no memory for %zu bytes", path, size);
    ssize_t got = file_read_up_to(fd, text, size);
    if (got < 0) {
        free(text);
        return file_fail_errno(err, path, "cannot be read");
    }
    text[got] = '\0';
    *bytes = text;
    *len = (size_t)got;
    return TG_OK;
}

enum tg_code file_read_secret(const char *path, size_t len, struct secret **out, struct tg_error *err)
{
    TG_CLEANUP(close_fd) int fd = -1;
    struct stat about = {0};
    TG_TRY(open_private(path, &fd, &about, err));
    if (len == 0)
        TG_ENSURE(about.st_size >= 1 && about.st_size <= SECRET_FILE_MAX, err, TG_INVALID_ARGUMENT,
                  "%s: has %lld bytes, needs 1 to %d", path, (long long)about.st_size, SECRET_FILE_MAX);
    else
        TG_ENSURE(about.st_size >= 0 && (size_t)about.st_size == len, err, TG_INVALID_ARGUMENT,
                  "%s: has %lld bytes, needs exactly %zu", path, (long long)about.st_size, len);
    size_t size = (size_t)about.st_size;
    TG_CLEANUP(secret_cleanup) struct secret *s = secret_new(size);
    TG_ENSURE(s != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: locked memory is full: raise locked_memory", path);
    ssize_t got = file_read_up_to(fd, secret_bytes(s), size);
    if (got < 0)
        return file_fail_errno(err, path, "cannot be read");
    TG_ENSURE((size_t)got == size, err, TG_ABORTED, "%s: changed while it was read: try again", path);
    *out = s;
    s = NULL;
    return TG_OK;
}

/* Byte by byte, so that the lines after it stay for the descriptor's next reader. `line` has LINE_ROOM bytes.
 */
static enum tg_code read_line(int fd, const char *name, uint8_t *line, size_t *len, struct tg_error *err)
{
    size_t used = 0;
    ssize_t n = 0;
    while (used < LINE_ROOM && (n = file_read_up_to(fd, line + used, 1)) == 1 && line[used] != '\n')
        used++;
    if (n < 0)
        return file_fail_errno(err, name, "cannot be read");
    if (n == 1 && used > 0 && line[used - 1] == '\r')
        used--;
    TG_ENSURE(used > 0, err, TG_INVALID_ARGUMENT, "%s: the first line is empty", name);
    TG_ENSURE(used <= LINE_SECRET_MAX, err, TG_INVALID_ARGUMENT, "%s: the first line is longer than %d bytes",
              name, LINE_SECRET_MAX);
    TG_ENSURE(memchr(line, 0, used) == NULL, err, TG_INVALID_ARGUMENT,
              "%s: the first line has a NUL byte, text is needed", name);
    *len = used;
    return TG_OK;
}

static enum tg_code read_line_secret(int fd, const char *name, struct secret **out, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup)
    struct secret *line = secret_new(LINE_ROOM);
    TG_ENSURE(line != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: locked memory is full", name);
    size_t len = 0;
    TG_TRY(read_line(fd, name, secret_bytes(line), &len, err));
    *out = secret_copy(secret_view(line), len);
    TG_ENSURE(*out != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: locked memory is full", name);
    return TG_OK;
}

enum tg_code file_read_line_secret(const char *path, struct secret **out, struct tg_error *err)
{
    TG_CLEANUP(close_fd) int fd = -1;
    struct stat about = {0};
    TG_TRY(open_private(path, &fd, &about, err));
    return read_line_secret(fd, path, out, err);
}

enum tg_code fd_read_line_secret(int fd, struct secret **out, struct tg_error *err)
{
    char name[32];
    (void)snprintf(name, sizeof name, "descriptor %d", fd);
    return read_line_secret(fd, name, out, err);
}
