#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "tools/tgctl/export/sink.h"

struct file_sink {
    struct sink base;
    const char *path;
    FILE *out;
    uint64_t len;
};

static struct file_sink *of(struct sink *sink)
{
    return (struct file_sink *)sink;
}

static enum tg_code failed(const struct file_sink *file, struct tg_error *err)
{
    return tg_fail(err, TG_UNAVAILABLE, "%s cannot be written: %s", file->path, strerror(errno));
}

static enum tg_code put(struct sink *sink, const char *line, struct tg_error *err)
{
    struct file_sink *file = of(sink);
    int written = fprintf(file->out, "%s\n", line);
    if (written < 0)
        return failed(file, err);
    file->len += (uint64_t)written;
    return TG_OK;
}

static enum tg_code flush(struct sink *sink, bool *settled, struct tg_error *err)
{
    struct file_sink *file = of(sink);
    *settled = fflush(file->out) == 0 && fdatasync(fileno(file->out)) == 0;
    return *settled ? TG_OK : failed(file, err);
}

static enum tg_code finish(struct sink *sink, struct tg_error *err)
{
    bool settled;
    return flush(sink, &settled, err);
}

static uint64_t mark(const struct sink *sink)
{
    return ((const struct file_sink *)sink)->len;
}

static void close_file(struct sink *sink)
{
    fclose(of(sink)->out);
    free(sink);
}

static const struct sink_ops file_ops = {put, flush, finish, mark, close_file};

/* To where the last export left off; without one, to the end of what is there. */
static enum tg_code go_to_mark(struct file_sink *file, int fd, uint64_t wanted, struct tg_error *err)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return failed(file, err);
    bool marked = wanted != SINK_NO_MARK;
    TG_ENSURE(S_ISREG(about.st_mode), err, TG_INVALID_ARGUMENT, "%s is not a file", file->path);
    TG_ENSURE(flock(fd, LOCK_EX | LOCK_NB) == 0, err, TG_FAILED_PRECONDITION,
              "another export writes %s: stop it, or let it go on", file->path);
    TG_ENSURE(
        !marked || (uint64_t)about.st_size >= wanted, err, TG_DATA_LOSS,
        "%s is shorter (%lld bytes) than it was after the last export (%llu): restore it, or begin with "
        "another file and position",
        file->path, (long long)about.st_size, (unsigned long long)wanted);
    file->len = marked ? wanted : (uint64_t)about.st_size;
    if (ftruncate(fd, (off_t)file->len) != 0)
        return failed(file, err);
    return file_sync_directory(file->path, err); /* its name, if it is new */
}

enum tg_code sink_file_open(const struct sink_options *options, struct sink **sink, struct tg_error *err)
{
    struct file_sink *file = calloc(1, sizeof *file);
    TG_ENSURE(file != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    *file = (struct file_sink){.base = {&file_ops}, .path = options->to};
    int fd = open(options->to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    enum tg_code code = fd >= 0 ? go_to_mark(file, fd, options->mark, err) : failed(file, err);
    file->out = code == TG_OK ? fdopen(fd, "a") : NULL;
    if (file->out != NULL) {
        *sink = &file->base;
        return TG_OK;
    }
    if (fd >= 0)
        close(fd);
    free(file);
    return code != TG_OK ? code : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory");
}
