/* The system call filter. Used by common/service only. */
#ifndef TG_COMMON_SERVICE_SYSCALLS_H
#define TG_COMMON_SERVICE_SYSCALLS_H

#include "common/error.h"

/* Makes all threads, now and later, get EPERM for system calls that no service of ours needs. For good. */
enum tg_code syscalls_forbid(struct tg_error *err) TG_MUST_CHECK;

#endif
