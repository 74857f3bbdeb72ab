/* What both shims share: finding the function that stands behind ours, and knowing which descriptors and
 * paths are under test. A shim is preloaded (LD_PRELOAD) into a program that knows nothing of it. */
#ifndef TG_TESTS_CRASH_SHIM_H
#define TG_TESTS_CRASH_SHIM_H

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_EXPORT __attribute__((visibility("default")))
/* A second name for the same function: glibc has one for 64-bit offsets. */
#define SHIM_ALIAS(name) __attribute__((visibility("default"), alias(#name)))

/* Declares `real_<name>`: the next definition after ours. */
#define SHIM_REAL(name)                                                                                      \
    static __typeof__(name) *real_##name;                                                                    \
    if (real_##name == NULL)                                                                                 \
    real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* Declares `mode`: the last argument of open(2), which is there only with some flags. */
#define SHIM_OPEN_MODE(flags)                                                                                \
    mode_t mode = 0;                                                                                         \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                            \
        va_list rest;                                                                                        \
        va_start(rest, flags);                                                                               \
        mode = va_arg(rest, mode_t);                                                                         \
        va_end(rest);                                                                                        \
    }

/* TG_SHIM_DIRS: directories, separated by colons; files under them are under test. */
bool shim_path_counts(const char *path);
/* Absolute form of a path as openat(2) takes it; false when it is not under test. */
bool shim_resolve(int at, const char *path, char out[PATH_MAX]);
/* To be called after each successful open, with the new descriptor, and before each close. */
void shim_opened(int fd);
void shim_closed(int fd);
bool shim_tracks(int fd);

#endif
