#include "tests/crash/power.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

struct cut {
    const char *directory;
    bool some;
    uint64_t seed;
    bool good;
};

/* splitmix64 of (seed, place): the same place is decided the same way each time it is asked about. */
static uint64_t number(uint64_t seed, uint64_t place)
{
    uint64_t x = seed + (place + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void complain(struct cut *cut, const char *what)
{
    fprintf(stderr, "power cut: %s: %s\n", what, strerror(errno));
    cut->good = false;
}

static uint8_t *read_all(const char *path, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = NULL;
    *len = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && (bytes = malloc((size_t)st.st_size + 1)) != NULL) {
        ssize_t got = read(fd, bytes, (size_t)st.st_size);
        *len = got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    return bytes;
}

/* ---- bytes ---- */

struct file_undo {
    int fd;
    uint64_t inode;
    const uint8_t *journal;
    const struct undo_record **records;
    size_t count;
    bool shrinks;
};

/* The complete ones: the last may have been cut short by kill -9, and then its write was never begun. */
static void list_records(struct file_undo *file, size_t len)
{
    size_t at = sizeof(struct undo_head);
    if (len < at)
        return;
    memcpy(&at, file->journal, sizeof at);
    while (at + sizeof(struct undo_record) <= len) {
        const struct undo_record *record = (const void *)(file->journal + at);
        at += sizeof *record;
        if (UNDO_SPACE(record->len) > len - at)
            return;
        at += UNDO_SPACE(record->len);
        const struct undo_record **grown =
            realloc(file->records, (file->count + 1) * sizeof(const struct undo_record *));
        if (grown == NULL)
            abort();
        file->records = grown;
        file->records[file->count++] = record;
        file->shrinks = file->shrinks || record->shrinks != 0;
    }
}

static bool stays(const struct cut *cut, const struct file_undo *file, uint64_t page)
{
    return cut->some && !file->shrinks && number(cut->seed ^ file->inode, page) % 2 == 0;
}

static void undo_pages(struct cut *cut, const struct file_undo *file, const struct undo_record *record)
{
    const uint8_t *bytes = (const uint8_t *)(record + 1);
    for (uint64_t done = 0; done < record->len;) {
        uint64_t at = record->offset + done;
        uint64_t piece = PAGE - at % PAGE;
        if (piece > record->len - done)
            piece = record->len - done;
        if (!stays(cut, file, at / PAGE) &&
            pwrite(file->fd, bytes + done, piece, (off_t)at) != (ssize_t)piece)
            complain(cut, "cannot put old bytes back");
        done += piece;
    }
}

/* Pages that were appended: those that stay keep their place, those before them that do not read as zeroes.
 */
static void cut_to(struct cut *cut, const struct file_undo *file, uint64_t size)
{
    static const uint8_t zeroes[PAGE];
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        complain(cut, "fstat");
    uint64_t end = (uint64_t)st.st_size;
    while (end > size && !stays(cut, file, (end - 1) / PAGE))
        end = (end - 1) / PAGE * PAGE;
    if (end < size)
        end = size;
    if (ftruncate(file->fd, (off_t)end) != 0)
        complain(cut, "ftruncate");
    for (uint64_t at = size; at < end;) {
        uint64_t piece = PAGE - at % PAGE < end - at ? PAGE - at % PAGE : end - at;
        if (!stays(cut, file, at / PAGE) && pwrite(file->fd, zeroes, piece, (off_t)at) != (ssize_t)piece)
            complain(cut, "cannot clear a page");
        at += piece;
    }
}

static void undo_file(struct cut *cut, uint64_t inode)
{
    char path[PATH_MAX];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/%llu.undo", cut->directory, (unsigned long long)inode);
    uint8_t *journal = read_all(path, &len);
    struct file_undo file = {.fd = -1, .inode = inode, .journal = journal};
    list_records(&file, len);
    if (file.count > 0) {
        snprintf(path, sizeof path, "%s/%llu.file", cut->directory, (unsigned long long)inode);
        file.fd = open(path, O_RDWR | O_CLOEXEC);
        if (file.fd < 0)
            complain(cut, path);
        for (size_t i = file.count; i-- > 0;)
            undo_pages(cut, &file, file.records[i]);
        cut_to(cut, &file, file.records[0]->size);
        close(file.fd);
    }
    free(file.records);
    free(journal);
}

static void each_inode(struct cut *cut, const char *suffix, void (*act)(struct cut *cut, uint64_t inode))
{
    DIR *all = opendir(cut->directory);
    const struct dirent *entry;
    if (all == NULL) {
        complain(cut, cut->directory);
        return;
    }
    while ((entry = readdir(all)) != NULL) {
        char *end = NULL;
        uint64_t inode = strtoull(entry->d_name, &end, 10);
        if (end != entry->d_name && strcmp(end, suffix) == 0)
            act(cut, inode);
    }
    closedir(all);
}

/* ---- names ---- */

static void undo_name(struct cut *cut, const struct name_record *record)
{
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s/%llu.file", cut->directory, (unsigned long long)record->kept);
    bool good = true;
    if (record->kind == NAME_CREATED)
        good = unlink(record->path) == 0 || errno == ENOENT; /* it may have failed */
    else if (record->kind == NAME_DIRECTORY)
        good = rmdir(record->path) == 0 || errno == ENOENT;
    else if (record->kind == NAME_NO_DIRECTORY)
        good = mkdir(record->path, 0700) == 0 || errno == EEXIST ||
               errno == ENOENT;            /* or it was never removed */
    else if (record->kind == NAME_RENAMED) /* or it was killed just before */
        good = rename(record->path, record->from) == 0 || errno == ENOENT;
    if (good && record->kept != 0)
        good = link(kept, record->path) == 0 || errno == EEXIST ||
               errno == ENOENT; /* its directory went for good */
    if (!good)
        complain(cut, record->path);
}

static bool is_synced(const struct name_record *all, size_t count, size_t at)
{
    for (size_t i = at + 1; i < count; i++)
        if (all[i].kind == NAME_SYNCED && all[i].directory == all[at].directory && all[i].upto > at)
            return true;
    return false;
}

static void undo_names(struct cut *cut)
{
    char path[PATH_MAX];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/names", cut->directory);
    struct name_record *all = (void *)read_all(path, &len);
    size_t count = len / sizeof *all;
    size_t first = cut->some ? number(cut->seed, count) % (count + 1) : 0;
    for (size_t i = count; i-- > first;)
        if (all[i].kind != NAME_SYNCED && !is_synced(all, count, i))
            undo_name(cut, &all[i]);
    free(all);
}

/* ---- the whole ---- */

bool power_forget(const char *directory)
{
    DIR *all = opendir(directory);
    const struct dirent *entry;
    while (all != NULL && (entry = readdir(all)) != NULL)
        (void)unlinkat(dirfd(all), entry->d_name, 0);
    if (all != NULL)
        closedir(all);
    return all != NULL;
}

bool power_cut(const char *directory, bool some, uint64_t seed)
{
    struct cut cut = {.directory = directory, .some = some, .seed = seed, .good = true};
    each_inode(&cut, ".undo", undo_file);
    undo_names(&cut);
    return power_forget(directory) && cut.good;
}
