#include "services/audit/chain_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK = 1 << 20 };

const struct chain_io chain_io_system = {pwrite, fdatasync, ftruncate};

enum tg_code chain_disk_error(int error, const char *doing, const char *path, struct tg_error *err)
{
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no room for the audit log: %s %s: %s", doing, path,
                       strerror(error));
    return tg_fail(err, TG_UNAVAILABLE, "the audit log's disk fails: %s %s: %s", doing, path,
                   strerror(error));
}

enum tg_code chain_file_path(const char *directory, uint64_t first, char path[CHAIN_PATH_MAX],
                             struct tg_error *err)
{
    int len = snprintf(path, CHAIN_PATH_MAX, "%s/audit-%020" PRIu64 ".jsonl", directory, first);
    TG_ENSURE(len > 0 && len < CHAIN_PATH_MAX, err, TG_FAILED_PRECONDITION, "path too long: %.64s…",
              directory);
    return TG_OK;
}

enum tg_code chain_file_open(const char *directory, uint64_t first, int *fd, off_t *len, struct tg_error *err)
{
    char path[CHAIN_PATH_MAX];
    TG_TRY(chain_file_path(directory, first, path, err));
    *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    TG_ENSURE(*fd >= 0, err, errno == ENOENT ? TG_DATA_LOSS : TG_UNAVAILABLE, "cannot open %s: %s", path,
              strerror(errno));
    struct stat info;
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(*fd);
        return tg_fail(err, TG_DATA_LOSS, "%s is not a regular file", path);
    }
    *len = info.st_size;
    return TG_OK;
}

enum tg_code chain_directory_sync(const char *directory, struct tg_error *err)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 ? TG_OK : chain_disk_error(error, "sync", directory, err);
}

enum tg_code chain_file_create(const char *directory, uint64_t first, int *fd, struct tg_error *err)
{
    char path[CHAIN_PATH_MAX];
    TG_TRY(chain_file_path(directory, first, path, err));
    /* Not O_EXCL: it may be left over, empty, from an attempt whose directory could not be synced. */
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return chain_disk_error(errno, "create", path, err);
    struct stat info;
    if (fstat(*fd, &info) != 0 || info.st_size != 0) {
        close(*fd);
        return tg_fail(err, TG_DATA_LOSS, "%s is there already and not empty", path);
    }
    enum tg_code code = chain_directory_sync(directory, err);
    if (code != TG_OK)
        close(*fd);
    return code;
}

enum tg_code chain_directory_lock(const char *directory, int *fd, struct tg_error *err)
{
    char path[CHAIN_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/lock", directory);
    TG_ENSURE(len > 0 && len < (int)sizeof path, err, TG_FAILED_PRECONDITION, "path too long: %.64s…",
              directory);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    TG_ENSURE(*fd >= 0, err, TG_FAILED_PRECONDITION,
              "cannot open %s: %s: create the directory and give it to this user", path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return TG_OK;
    close(*fd);
    return tg_fail(
        err, TG_FAILED_PRECONDITION,
        "%s is locked: another audit process writes this log. Stop it, or give this one its own directory",
        path);
}

static bool segment_name(const char *name, uint64_t *first)
{
    if (strlen(name) != CHAIN_NAME_LEN || strncmp(name, "audit-", 6) != 0 || strcmp(name + 26, ".jsonl") != 0)
        return false;
    char digits[21];
    memcpy(digits, name + 6, 20);
    digits[20] = '\0';
    if (strspn(digits, "0123456789") != 20)
        return false;
    errno = 0;
    *first = strtoull(digits, NULL, 10);
    return errno == 0 && *first > 0;
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool list_add(uint64_t **list, size_t *count, uint64_t first)
{
    if ((*count & (*count - 1)) == 0) { /* full at each power of two */
        uint64_t *more = realloc(*list, (*count == 0 ? 1 : *count * 2) * sizeof **list);
        if (more == NULL)
            return false;
        *list = more;
    }
    (*list)[(*count)++] = first;
    return true;
}

enum tg_code chain_file_list(const char *directory, uint64_t **first, size_t *count, struct tg_error *err)
{
    *first = NULL;
    *count = 0;
    DIR *dir = opendir(directory);
    TG_ENSURE(dir != NULL, err, TG_FAILED_PRECONDITION, "cannot list %s: %s", directory, strerror(errno));
    bool ok = true;
    for (struct dirent *entry = readdir(dir); ok && entry != NULL; entry = readdir(dir)) {
        uint64_t sequence = 0;
        if (segment_name(entry->d_name, &sequence))
            ok = list_add(first, count, sequence);
    }
    closedir(dir);
    if (!ok) {
        free(*first);
        *first = NULL;
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the list of segments");
    }
    if (*count > 1)
        qsort(*first, *count, sizeof **first, by_sequence);
    return TG_OK;
}

/* Visits the whole lines in a buffer; returns how many bytes they took. */
static size_t visit_lines(const char *buffer, size_t len, off_t offset, chain_line_visit *visit, void *arg,
                          bool *stopped)
{
    size_t used = 0;
    while (!*stopped && used < len) {
        const char *line = buffer + used;
        const char *feed = memchr(line, '\n', len - used);
        if (feed == NULL)
            break;
        *stopped = !visit(arg, offset + (off_t)used, line, (size_t)(feed - line));
        if (!*stopped)
            used += (size_t)(feed - line) + 1;
    }
    return used;
}

enum tg_code chain_file_lines(int fd, off_t *offset, off_t end, chain_line_visit *visit, void *arg,
                              struct tg_error *err)
{
    size_t chunk = end - *offset < READ_CHUNK ? (size_t)(end - *offset) : (size_t)READ_CHUNK;
    if (chunk == 0)
        return TG_OK;
    char *buffer = malloc(chunk);
    TG_ENSURE(buffer != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to read the audit log");
    bool stopped = false;
    while (!stopped && *offset < end) {
        size_t want = end - *offset < (off_t)chunk ? (size_t)(end - *offset) : chunk;
        ssize_t got = pread(fd, buffer, want, *offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(buffer);
            return tg_fail(err, TG_UNAVAILABLE, "cannot read the audit log: %s", strerror(errno));
        }
        size_t used = visit_lines(buffer, (size_t)got, *offset, visit, arg, &stopped);
        *offset += (off_t)used;
        if (used == 0)
            break; /* no whole line there: the rest is torn, or a line is too long */
    }
    free(buffer);
    return TG_OK;
}
