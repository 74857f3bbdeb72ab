/* errno to enum tg_code, for the functions of file.h only. */
#ifndef TG_COMMON_FILE_ERRNO_H
#define TG_COMMON_FILE_ERRNO_H

#include "common/error.h"

/* "PATH: WHAT: reason of errno". Any thread. */
enum tg_code file_fail_errno(struct tg_error *err, const char *path, const char *what);

#endif
