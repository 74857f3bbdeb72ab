/* Small files, safely: secrets read only when nobody else can, and replaced whole or not at all. */
#ifndef TG_COMMON_FILE_H
#define TG_COMMON_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

/* Reads a whole regular file of at most max bytes into new memory, for the caller to free(); a NUL that *len
 * does not count follows them. NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (not a regular file, or
 * longer). Any thread, as all here. */
enum tg_code file_read(const char *path, size_t max, char **bytes, size_t *len,
                       struct tg_error *err) TG_MUST_CHECK;

/* Reads a secret of exactly len bytes (len 0: 1 to 4096) from a regular file that group and others can
 * neither read nor write; symbolic links are followed (mounted secrets are links). Without root's rights a
 * file of root's may be readable by its group, by which we then read it (mounted secrets, systemd
 * credentials). NOT_FOUND, PERMISSION_DENIED (mode: the text says `chmod 0400`), INVALID_ARGUMENT (length).
 */
enum tg_code file_read_secret(const char *path, size_t len, struct secret **out,
                              struct tg_error *err) TG_MUST_CHECK;

/* A password or PIN: the first line, without its end, from such a file or from a descriptor (read up to the
 * line's end and no further). 1 to 1024 bytes, none of them NUL. */
enum tg_code file_read_line_secret(const char *path, struct secret **out, struct tg_error *err) TG_MUST_CHECK;
enum tg_code fd_read_line_secret(int fd, struct secret **out, struct tg_error *err) TG_MUST_CHECK;

/* Writes a new file with mode 0600, whole or not at all; ALREADY_EXISTS rather than overwriting. Durable on
 * return. */
enum tg_code file_write_new(const char *path, const void *bytes, size_t len,
                            struct tg_error *err) TG_MUST_CHECK;
/* Replaces atomically and durably: temporary file beside it, fsync, rename, fsync of the directory. Mode
 * 0600. A symbolic link stays, and what it points to is replaced. A process killed on the way may leave
 * "PATH.XXXXXX" behind. */
enum tg_code file_replace(const char *path, const void *bytes, size_t len,
                          struct tg_error *err) TG_MUST_CHECK;

/* Makes the name of `path` durable: a new or renamed file can be found again only once its directory is
 * synced. */
enum tg_code file_sync_directory(const char *path, struct tg_error *err) TG_MUST_CHECK;

#endif
