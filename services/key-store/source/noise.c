#include "services/key-store/source/noise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "common/trace.h"

enum { NOT_YET_MS = 10 }; /* for devices that say that there is something when there is nothing */

enum tg_code noise_init(struct noise *noise, const char *path, unsigned timeout_ms, struct tg_error *err)
{
    *noise = (struct noise){.path = path, .timeout_ms = timeout_ms, .fd = -1};
    noise->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    TG_ENSURE(noise->wake >= 0, err, TG_RESOURCE_EXHAUSTED, "cannot make an eventfd: %s", strerror(errno));
    return TG_OK;
}

static void close_path(struct noise *noise)
{
    if (noise->fd >= 0)
        close(noise->fd);
    noise->fd = -1;
}

void noise_fini(struct noise *noise)
{
    close_path(noise);
    close(noise->wake);
}

void noise_interrupt(struct noise *noise)
{
    const uint64_t one = 1;
    (void)!write(noise->wake, &one, sizeof one);
}

/* ---- opening ---- */

static enum tg_code fail_errno(const struct noise *noise, const char *what, struct tg_error *err)
{
    int why = errno;
    enum tg_code code = why == ENOENT                   ? TG_NOT_FOUND
                        : why == EACCES || why == EPERM ? TG_PERMISSION_DENIED
                                                        : TG_UNAVAILABLE;
    return tg_fail(err, code, "%s: %s: %s", noise->path, what, strerror(why));
}

/* Key material must be nobody else's to read, nor to choose. Device nodes are the system's own affair. */
static enum tg_code check_mode(const struct noise *noise, const struct stat *st, struct tg_error *err)
{
    TG_ENSURE(S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISCHR(st->st_mode), err, TG_INVALID_ARGUMENT,
              "%s: neither a character device, a FIFO nor a file", noise->path);
    TG_ENSURE(!S_ISREG(st->st_mode) || (st->st_mode & 077) == 0, err, TG_PERMISSION_DENIED,
              "%s: others can read or write it: chmod 0600", noise->path);
    TG_ENSURE(!S_ISFIFO(st->st_mode) || (st->st_mode & 022) == 0, err, TG_PERMISSION_DENIED,
              "%s: others can write into it: chmod go-w", noise->path);
    return TG_OK;
}

static enum tg_code open_path(struct noise *noise, struct tg_error *err)
{
    struct stat st;
    if (stat(noise->path, &st) != 0)
        return fail_errno(noise, "cannot be opened", err);
    TG_TRY(check_mode(noise, &st, err));
    noise->is_file = S_ISREG(st.st_mode);
    noise->fd = open(noise->path, (noise->is_file ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (noise->fd < 0)
        return fail_errno(noise, noise->is_file ? "cannot be opened to take bytes off" : "cannot be opened",
                          err);
    if (fstat(noise->fd, &st) != 0)
        return fail_errno(noise, "cannot be opened", err);
    TG_TRY(check_mode(noise, &st, err));
    TG_ENSURE(noise->is_file == S_ISREG(st.st_mode), err, TG_UNAVAILABLE, "%s: changed while it was opened",
              noise->path);
    TG_ENSURE(!noise->is_file || flock(noise->fd, LOCK_EX | LOCK_NB) == 0, err, TG_UNAVAILABLE,
              "%s: in use by another process", noise->path);
    struct termios terminal;
    if (isatty(noise->fd) && tcgetattr(noise->fd, &terminal) == 0) { /* many a generator is a serial port */
        cfmakeraw(&terminal);
        (void)tcsetattr(noise->fd, TCSANOW, &terminal);
    }
    return TG_OK;
}

/* ---- reading ---- */

static enum tg_code take_off_end(const struct noise *noise, uint8_t *out, size_t room, size_t *len,
                                 struct tg_error *err)
{
    struct stat st;
    if (fstat(noise->fd, &st) != 0)
        return fail_errno(noise, "cannot be read", err);
    TG_ENSURE(st.st_size > 0, err, TG_RESOURCE_EXHAUSTED, "%s is used up: put a new file in its place",
              noise->path);
    size_t want = (uint64_t)st.st_size < room ? (size_t)st.st_size : room;
    off_t at = st.st_size - (off_t)want;
    ssize_t got = pread(noise->fd, out, want, at);
    if (got < 0)
        return fail_errno(noise, "cannot be read", err);
    TG_ENSURE((size_t)got == want, err, TG_UNAVAILABLE, "%s: changed while it was read", noise->path);
    if (ftruncate(noise->fd, at) != 0 || fsync(noise->fd) != 0)
        return fail_errno(noise, "bytes cannot be taken off it", err);
    *len = want;
    return TG_OK;
}

/* Until there is something to read, or `ms` are over, or the read is to end. */
static enum tg_code await(const struct noise *noise, bool watch, uint64_t deadline_ms, struct tg_error *err)
{
    uint64_t now = clock_now_ms();
    struct pollfd fds[] = {{.fd = noise->wake, .events = POLLIN},
                           {.fd = watch ? noise->fd : -1, .events = POLLIN}};
    int timeout = now < deadline_ms ? (int)(deadline_ms - now) : 0;
    if (!watch && timeout > NOT_YET_MS)
        timeout = NOT_YET_MS;
    int rc = poll(fds, 2, timeout);
    if (rc < 0 && errno != EINTR)
        return fail_errno(noise, "cannot be waited for", err);
    TG_ENSURE(fds[0].revents == 0, err, TG_CANCELLED, "%s: reading was ended", noise->path);
    TG_ENSURE(rc > 0 || clock_now_ms() < deadline_ms, err, TG_UNAVAILABLE, "%s gave nothing for %u ms",
              noise->path, noise->timeout_ms);
    return TG_OK;
}

static enum tg_code read_stream(const struct noise *noise, uint8_t *out, size_t room, size_t *len,
                                struct tg_error *err)
{
    uint64_t deadline_ms = clock_now_ms() + noise->timeout_ms;
    for (bool watch = true;; watch = !watch) {
        TG_TRY(await(noise, watch, deadline_ms, err));
        ssize_t got = read(noise->fd, out, room);
        TG_ENSURE(got != 0, err, TG_RESOURCE_EXHAUSTED, "%s has ended", noise->path);
        if (got > 0) {
            *len = (size_t)got;
            return TG_OK;
        }
        if (errno != EAGAIN && errno != EINTR)
            return fail_errno(noise, "cannot be read", err);
    }
}

enum tg_code noise_read(struct noise *noise, uint8_t *out, size_t room, size_t *len, bool *fresh,
                        struct tg_error *err)
{
    enum tg_code code = TG_OK;
    *fresh = noise->fd < 0;
    if (*fresh)
        code = open_path(noise, err);
    if (code == TG_OK && noise->is_file)
        code = take_off_end(noise, out, room, len, err);
    else if (code == TG_OK)
        code = read_stream(noise, out, room, len, err);
    if (code != TG_OK)
        close_path(noise); /* whatever is there when it is tried again is opened anew */
    return code;
}
