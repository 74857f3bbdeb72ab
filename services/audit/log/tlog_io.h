/* How the log writes: every call that can fail on a bad disk goes through here, and tests give their own. All
 * paths are relative to the log's directory. */
#ifndef TG_AUDIT_TLOG_IO_H
#define TG_AUDIT_TLOG_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

struct tlog_io {
    int (*create)(int directory, const char *path, int flags); /* openat, for writing, mode 0600 */
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t offset);
    int (*sync)(int fd);           /* of a file: fdatasync */
    int (*sync_directory)(int fd); /* fsync: fdatasync need not make new names durable */
    int (*ftruncate)(int fd, off_t len);
    int (*rename)(int directory, const char *from, const char *to);
    int (*mkdir)(int directory, const char *path);
    int (*unlink)(int directory, const char *path, int flags);
};
extern const struct tlog_io tlog_io_system;

/* Code of a failed call: RESOURCE_EXHAUSTED for a full disk, otherwise UNAVAILABLE. */
enum tg_code tlog_disk_error(int error, const char *doing, const char *path, struct tg_error *err);

/* All of it, at that offset; not synced. */
enum tg_code tlog_write_all(const struct tlog_io *io, int fd, const char *path, const void *bytes, size_t len,
                            off_t offset, struct tg_error *err) TG_MUST_CHECK;
/* Makes names in a directory ("." or below) durable. */
enum tg_code tlog_sync_directory(const struct tlog_io *io, int directory, const char *path,
                                 struct tg_error *err) TG_MUST_CHECK;
/* A file with its content, durable, under a temporary name, and then renamed; the new name is not yet
 * durable. Missing directories are made. */
enum tg_code tlog_write_file(const struct tlog_io *io, int directory, const char *path, const void *bytes,
                             size_t len, struct tg_error *err) TG_MUST_CHECK;

#endif
