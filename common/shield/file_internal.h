/* The file shield's parts that its tests reach into. */
#ifndef TG_COMMON_SHIELD_FILE_INTERNAL_H
#define TG_COMMON_SHIELD_FILE_INTERNAL_H

#include "common/shield/container.h"

/* shield_file_create with a cost of the caller's: quick tests want 2^CONTAINER_LOG2_N_MIN. Real shields never
 * get less than CONTAINER_LOG2_N. */
enum tg_code shield_file_create_cost(const char *path, const char *shield_id, const struct secret *pin,
                                     uint8_t log2_n, struct tg_error *err) TG_MUST_CHECK;

/* Opens a regular file that group and others cannot touch, of at most CONTAINER_MAX bytes. */
enum tg_code shield_file_open_fd(const char *path, int *fd, struct tg_error *err) TG_MUST_CHECK;
/* Reads it whole; *bytes is the caller's to free(). */
enum tg_code shield_file_read(const char *path, int fd, uint8_t **bytes, size_t *len,
                              struct tg_error *err) TG_MUST_CHECK;
/* UNAVAILABLE: `path` no longer means the open file: the stick was pulled or swapped. (Numbers alone would
 * not do: FAT gives a file that nobody has open a new one.) */
enum tg_code shield_file_same(const char *path, int fd, struct tg_error *err) TG_MUST_CHECK;

/* Locks "PATH.lock" until *fd is closed. The container itself cannot carry the lock: each writing replaces
 * it. UNAVAILABLE: another process has it. */
enum tg_code shield_file_lock(const char *path, int *fd, struct tg_error *err) TG_MUST_CHECK;

#endif
