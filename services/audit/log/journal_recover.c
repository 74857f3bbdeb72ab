/* What is done with the journal when a log is opened. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/trace.h"
#include "services/audit/log/journal.h"

static const char advice[] =
    "it was altered or the disk damaged it. Nothing was changed: keep this directory "
    "as evidence, then restore it from a copy or configure a new one";

enum { NAME_LEN = 20 };

static bool parse_name(const char *name, uint64_t *first)
{
    if (strlen(name) != NAME_LEN || strspn(name, "0123456789") != NAME_LEN)
        return false;
    errno = 0;
    *first = strtoull(name, NULL, 10);
    return errno == 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static enum tg_code list_files(struct journal *journal, struct tg_error *err)
{
    int fd = openat(journal->directory, "pending", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    TG_ENSURE(fd >= 0, err, errno == ENOENT ? TG_NOT_FOUND : TG_FAILED_PRECONDITION,
              "cannot open pending: %s", strerror(errno));
    DIR *dir = fdopendir(fd);
    bool ok = dir != NULL;
    for (struct dirent *entry = ok ? readdir(dir) : NULL; ok && entry != NULL; entry = readdir(dir)) {
        uint64_t first = 0;
        if (!parse_name(entry->d_name, &first))
            continue;
        uint64_t *more = realloc(journal->first, (journal->count + 1) * sizeof *more);
        ok = more != NULL;
        if (ok) {
            journal->first = more;
            journal->first[journal->count++] = first;
        }
    }
    if (dir != NULL)
        closedir(dir);
    else
        close(fd);
    TG_ENSURE(ok, err, TG_RESOURCE_EXHAUSTED, "no memory for the audit log's files");
    TG_ENSURE(journal->count > 0, err, TG_NOT_FOUND, "no file in pending");
    qsort(journal->first, journal->count, sizeof *journal->first, by_value);
    return TG_OK;
}

static uint64_t get_be(const uint8_t *in, int len)
{
    uint64_t value = 0;
    for (int i = 0; i < len; i++)
        value = value << 8 | in[i];
    return value;
}

/* Exactly `count` entries, one after the other. */
static bool entries_fit(const uint8_t *at, size_t len, uint32_t count)
{
    const uint8_t *end = at + len;
    for (; count > 0; count--) {
        if (end - at < 2 || (size_t)(end - at) < 2 + (size_t)get_be(at, 2))
            return false;
        at += 2 + get_be(at, 2);
    }
    return at == end;
}

/* Length of the batch that stands there; 0: none does. */
static size_t batch_len(const uint8_t *at, size_t left)
{
    uint8_t digest[JOURNAL_HASH_LEN];
    if (left < JOURNAL_HEAD)
        return 0;
    size_t len = JOURNAL_HEAD + (size_t)get_be(at + 12, 4);
    uint32_t count = (uint32_t)get_be(at + 8, 4);
    if (len > left || count == 0 || !entries_fit(at + JOURNAL_HEAD, len - JOURNAL_HEAD, count))
        return 0;
    journal_digest(at, len, digest);
    return memcmp(digest, at + JOURNAL_HEAD - JOURNAL_HASH_LEN, JOURNAL_HASH_LEN) == 0 ? len : 0;
}

/* One file, read whole. */
struct file {
    char name[JOURNAL_NAME_MAX];
    uint8_t *bytes;
    size_t len;
    size_t good; /* bytes of whole batches */
};

static enum tg_code read_file(struct journal *journal, struct file *file, struct tg_error *err)
{
    struct stat info;
    journal->fd = openat(journal->directory, file->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    TG_ENSURE(journal->fd >= 0 && fstat(journal->fd, &info) == 0, err, TG_UNAVAILABLE, "cannot open %s: %s",
              file->name, strerror(errno));
    TG_ENSURE(S_ISREG(info.st_mode), err, TG_DATA_LOSS, "%s is not a regular file", file->name);
    file->bytes = malloc((size_t)info.st_size + 1);
    TG_ENSURE(file->bytes != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to read %s", file->name);
    while (file->len < (size_t)info.st_size) {
        ssize_t got =
            pread(journal->fd, file->bytes + file->len, (size_t)info.st_size - file->len, (off_t)file->len);
        if (got < 0 && errno == EINTR)
            continue;
        TG_ENSURE(got > 0, err, TG_UNAVAILABLE, "cannot read %s: %s", file->name, strerror(errno));
        file->len += (size_t)got;
    }
    return TG_OK;
}

static enum tg_code visit_file(struct file *file, journal_visit *visit, void *arg, uint64_t *next,
                               struct tg_error *err)
{
    for (;;) {
        const uint8_t *at = file->bytes + file->good;
        size_t len = batch_len(at, file->len - file->good);
        if (len == 0)
            return TG_OK;
        uint32_t count = (uint32_t)get_be(at + 8, 4);
        TG_ENSURE(get_be(at, 8) == *next, err, TG_DATA_LOSS,
                  "%s is broken at byte %zu, sequence %" PRIu64 ": %s", file->name, file->good, *next,
                  advice);
        TG_TRY(visit(arg, *next, count, at, len, err));
        *next += count;
        file->good += len;
    }
}

/* Torn is what has no whole batch behind it. */
static bool is_torn(const struct file *file, uint64_t next)
{
    for (size_t at = file->good + 1; at + JOURNAL_HEAD <= file->len; at++) {
        uint64_t first = get_be(file->bytes + at, 8);
        if (first > next && first - next < UINT32_MAX && batch_len(file->bytes + at, file->len - at) > 0)
            return false;
    }
    return true;
}

static enum tg_code cut_torn(struct journal *journal, const struct file *file, uint64_t next,
                             struct tg_error *err)
{
    char aside[JOURNAL_NAME_MAX + 40];
    struct tg_error why = {0};
    TG_ENSURE(is_torn(file, next), err, TG_DATA_LOSS, "%s is broken at byte %zu, sequence %" PRIu64 ": %s",
              file->name, file->good, next, advice);
    snprintf(aside, sizeof aside, "%s.torn-%" PRIu64, file->name, clock_unix_us());
    bool kept = tlog_write_file(journal->io, journal->directory, aside, file->bytes + file->good,
                                file->len - file->good, &why) == TG_OK;
    if (journal->io->ftruncate(journal->fd, (off_t)file->good) != 0 || journal->io->sync(journal->fd) != 0)
        return tlog_disk_error(errno, "truncate", file->name, err);
    LOG(LOG_WARNING, NULL, "audit.torn_end_cut", LOG_NUMBER("sequence", next),
        LOG_NUMBER("bytes", file->len - file->good),
        LOG_TEXT("meaning", "written when the service was stopped, never acknowledged"),
        LOG_TEXT("kept", kept ? aside : why.text));
    return TG_OK;
}

static enum tg_code recover_file(struct journal *journal, struct file *file, bool last, journal_visit *visit,
                                 void *arg, uint64_t *next, struct tg_error *err)
{
    TG_TRY(read_file(journal, file, err));
    TG_TRY(visit_file(file, visit, arg, next, err));
    TG_ENSURE(last || file->good == file->len, err, TG_DATA_LOSS,
              "%s is broken at byte %zu, sequence %" PRIu64 ": %s", file->name, file->good, *next, advice);
    if (file->good < file->len)
        TG_TRY(cut_torn(journal, file, *next, err));
    journal->durable = (off_t)file->good;
    return TG_OK;
}

enum tg_code journal_recover(struct journal *journal, journal_visit *visit, void *arg, uint64_t *next,
                             struct tg_error *err)
{
    TG_TRY(list_files(journal, err));
    *next = journal->first[0];
    for (size_t i = 0; i < journal->count; i++) {
        struct file file = {0};
        snprintf(file.name, sizeof file.name, "pending/%020" PRIu64, journal->first[i]);
        TG_ENSURE(journal->first[i] == *next, err, TG_DATA_LOSS,
                  "%s is there, but %" PRIu64 " is the sequence that follows: %s", file.name, *next, advice);
        if (journal->fd >= 0)
            close(journal->fd);
        journal->fd = -1;
        memcpy(journal->name, file.name, sizeof file.name);
        enum tg_code code = recover_file(journal, &file, i + 1 == journal->count, visit, arg, next, err);
        free(file.bytes);
        TG_TRY(code);
    }
    return TG_OK;
}
