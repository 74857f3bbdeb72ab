/* What a service gives up before it serves: core dumps, its user, new privileges, and system calls that only
 * an intruder would need. Used by common/service only; the main thread calls all of it. */
#ifndef TG_COMMON_SERVICE_LOCKDOWN_H
#define TG_COMMON_SERVICE_LOCKDOWN_H

#include "common/error.h"

/* First of all: no core dumps, not to be traced, private files, descriptors and locked memory up to the hard
 * limit. */
enum tg_code lockdown_begin(struct tg_error *err) TG_MUST_CHECK;

/* Becomes `user` for good, in all threads; NULL: stays who we are. */
enum tg_code lockdown_drop(const char *user, struct tg_error *err) TG_MUST_CHECK;

/* No new privileges, and the system call filter, in all threads. */
enum tg_code lockdown_seal(struct tg_error *err) TG_MUST_CHECK;

#endif
