/* What the functions of file.h are made of, for those in common who keep a file open. Any thread. */
#ifndef TG_COMMON_FILE_IO_H
#define TG_COMMON_FILE_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

/* errno as a code and a text: "PATH: WHAT: reason". */
enum tg_code file_fail_errno(struct tg_error *err, const char *path, const char *what);

/* Reads up to len bytes; fewer only at the file's end. -1: errno says why. */
ssize_t file_read_up_to(int fd, void *into, size_t len);

#endif
