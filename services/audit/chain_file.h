/* The files of the hash-chained log. A segment is named by the sequence of its first line, audit-<20
 * digits>.jsonl, so that a listing of the directory is a table of contents; a new one is begun when the last
 * has grown large. */
#ifndef TG_AUDIT_CHAIN_FILE_H
#define TG_AUDIT_CHAIN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "services/audit/chain_line.h"

enum { CHAIN_NAME_LEN = 6 + 20 + 6, CHAIN_PATH_MAX = 512 };

/* The calls that can fail on a bad disk; tests give their own. */
struct chain_io {
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t offset);
    int (*fdatasync)(int fd);
    int (*ftruncate)(int fd, off_t len);
};
extern const struct chain_io chain_io_system;

/* All whole lines between two offsets of a file, one after the other; line without its line feed. False:
 * stop. */
typedef bool chain_line_visit(void *arg, off_t offset, const char *line, size_t len);

/* Reads from *offset up to end; *offset is then the start of what was not visited: a line that `visit`
 * stopped at, the incomplete rest, or a line longer than CHAIN_LINE_MAX. UNAVAILABLE: the file cannot be
 * read. */
enum tg_code chain_file_lines(int fd, off_t *offset, off_t end, chain_line_visit *visit, void *arg,
                              struct tg_error *err) TG_MUST_CHECK;

/* Sequences of all segments in `directory`, ascending; *first is the caller's to free(). */
enum tg_code chain_file_list(const char *directory, uint64_t **first, size_t *count,
                             struct tg_error *err) TG_MUST_CHECK;

/* FAILED_PRECONDITION when the path is too long. */
enum tg_code chain_file_path(const char *directory, uint64_t first, char path[CHAIN_PATH_MAX],
                             struct tg_error *err) TG_MUST_CHECK;
/* Opens to read; DATA_LOSS when it is not there. */
enum tg_code chain_file_open(const char *directory, uint64_t first, int *fd, off_t *len,
                             struct tg_error *err) TG_MUST_CHECK;
/* Creates an empty segment, durable in its directory, open to write. */
enum tg_code chain_file_create(const char *directory, uint64_t first, int *fd,
                               struct tg_error *err) TG_MUST_CHECK;

/* Makes a change of the directory itself durable. */
enum tg_code chain_directory_sync(const char *directory, struct tg_error *err) TG_MUST_CHECK;

/* One process a directory: *fd holds the lock until it is closed. FAILED_PRECONDITION: another has it. */
enum tg_code chain_directory_lock(const char *directory, int *fd, struct tg_error *err) TG_MUST_CHECK;

/* Code of a failed write: RESOURCE_EXHAUSTED for a full disk, otherwise UNAVAILABLE. */
enum tg_code chain_disk_error(int error, const char *doing, const char *path, struct tg_error *err);

#endif
