#include "services/audit/log/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

static const char directory_name[] = "pending";

enum { NUMBERS_LEN = 16 };

static void file_name(uint64_t first, char name[JOURNAL_NAME_MAX])
{
    snprintf(name, JOURNAL_NAME_MAX, "%s/%020" PRIu64, directory_name, first);
}

static void put_be(uint8_t *out, uint64_t value, int len)
{
    for (int i = 0; i < len; i++)
        out[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

void journal_digest(const uint8_t *batch, size_t len, uint8_t digest[JOURNAL_HASH_LEN])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(context, batch, NUMBERS_LEN) == 1 &&
             EVP_DigestUpdate(context, batch + JOURNAL_HEAD, len - JOURNAL_HEAD) == 1 &&
             EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    TG_INVARIANT(ok);
}

void journal_seal(uint8_t *batch, uint64_t first, uint32_t count, size_t len)
{
    put_be(batch, first, 8);
    put_be(batch + 8, count, 4);
    put_be(batch + 12, len - JOURNAL_HEAD, 4);
    journal_digest(batch, len, batch + NUMBERS_LEN);
}

void journal_init(struct journal *journal, const struct tlog_io *io, int directory, off_t rotate)
{
    *journal = (struct journal){.io = io, .directory = directory, .fd = -1, .rotate = rotate};
    pthread_mutex_init(&journal->lock, NULL);
}

bool journal_is_large(const struct journal *journal)
{
    return journal->durable >= journal->rotate;
}

static enum tg_code list_add(struct journal *journal, uint64_t first, struct tg_error *err)
{
    pthread_mutex_lock(&journal->lock);
    uint64_t *more = realloc(journal->first, (journal->count + 1) * sizeof *more);
    if (more != NULL) {
        journal->first = more;
        journal->first[journal->count++] = first;
    }
    pthread_mutex_unlock(&journal->lock);
    TG_ENSURE(more != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for another file of the audit log");
    return TG_OK;
}

enum tg_code journal_rotate(struct journal *journal, uint64_t next, struct tg_error *err)
{
    char name[JOURNAL_NAME_MAX];
    file_name(next, name);
    /* Not O_EXCL: it may be left over, empty, from an attempt whose directory could not be synced. */
    int fd = journal->io->create(journal->directory, name, 0);
    if (fd < 0)
        return tlog_disk_error(errno, "create", name, err);
    struct stat info;
    enum tg_code code = fstat(fd, &info) == 0 && info.st_size == 0
                            ? tlog_sync_directory(journal->io, journal->directory, directory_name, err)
                            : tg_fail(err, TG_DATA_LOSS, "%s is there already and not empty", name);
    if (code == TG_OK)
        code = list_add(journal, next, err);
    if (code != TG_OK) {
        close(fd);
        return code;
    }
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = fd;
    journal->durable = 0;
    journal->suspect = false;
    memcpy(journal->name, name, sizeof name);
    return TG_OK;
}

enum tg_code journal_begin(struct journal *journal, uint64_t next, struct tg_error *err)
{
    if (journal->io->mkdir(journal->directory, directory_name) != 0 && errno != EEXIST)
        return tlog_disk_error(errno, "make", directory_name, err);
    TG_TRY(tlog_sync_directory(journal->io, journal->directory, ".", err));
    return journal_rotate(journal, next, err);
}

/* The oldest file, if all of its entries are below `kept`. */
static bool forgettable(struct journal *journal, uint64_t kept, char name[JOURNAL_NAME_MAX])
{
    pthread_mutex_lock(&journal->lock);
    bool found = journal->count > 1 && journal->first[1] <= kept;
    if (found)
        file_name(journal->first[0], name);
    pthread_mutex_unlock(&journal->lock);
    return found;
}

void journal_forget(struct journal *journal, uint64_t kept)
{
    char name[JOURNAL_NAME_MAX];
    while (forgettable(journal, kept, name)) {
        if (journal->io->unlink(journal->directory, name, 0) != 0 && errno != ENOENT)
            return; /* once more the next time */
        pthread_mutex_lock(&journal->lock);
        journal->count--;
        memmove(journal->first, journal->first + 1, journal->count * sizeof *journal->first);
        pthread_mutex_unlock(&journal->lock);
    }
}

/* After a failure: the file is put back to what is durable, through a new descriptor, since a failed
 * fdatasync leaves pages behind that a later one would call clean. */
static enum tg_code repair(struct journal *journal, struct tg_error *err)
{
    const char *name = journal->name;
    int fd = openat(journal->directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return tlog_disk_error(errno, "open", name, err);
    close(journal->fd);
    journal->fd = fd;
    struct stat info;
    TG_ENSURE(fstat(fd, &info) == 0 && info.st_size >= journal->durable, err, TG_DATA_LOSS,
              "%s has become shorter than what was durable: stop the service and look at it", name);
    if (journal->io->ftruncate(fd, journal->durable) != 0 || journal->io->sync(fd) != 0)
        return tlog_disk_error(errno, "truncate", name, err);
    journal->suspect = false;
    return TG_OK;
}

enum tg_code journal_append(struct journal *journal, const uint8_t *batch, size_t len, struct tg_error *err)
{
    const char *name = journal->name;
    if (journal->suspect)
        TG_TRY(repair(journal, err));
    enum tg_code code = tlog_write_all(journal->io, journal->fd, name, batch, len, journal->durable, err);
    if (code == TG_OK && journal->io->sync(journal->fd) != 0)
        code = tlog_disk_error(errno, "sync", name, err);
    if (code == TG_OK) {
        journal->durable += (off_t)len;
        return TG_OK;
    }
    journal->suspect = true;
    if (journal->io->ftruncate(journal->fd, journal->durable) != 0)
        LOG(LOG_DEBUG, NULL, "audit.truncate_failed", LOG_NUMBER("errno", errno)); /* repair tries again */
    return code;
}

void journal_close(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->first);
    pthread_mutex_destroy(&journal->lock);
}
