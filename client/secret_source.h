/* Where a password or PIN comes from: a 0600 file, a descriptor, or the user at the terminal. Never an
 * argument or the environment, which others can read. */
#ifndef TG_CLIENT_SECRET_SOURCE_H
#define TG_CLIENT_SECRET_SOURCE_H

#include <stdbool.h>

#include "common/error.h"
#include "common/secret.h"

struct secret_source {
    const char *file; /* NULL: none */
    int fd;           /* -1: none */
};

/* Reads it; asks `question` when there is neither file nor descriptor. Two secrets may come from one
 * descriptor, a line each. Codes of file_read_line_secret and terminal_ask; the text starts with `what`
 * ("PIN"). */
enum tg_code secret_source_read(const struct secret_source *source, const char *what, const char *question,
                                struct secret **out, struct tg_error *err) TG_MUST_CHECK;

/* A new PIN: the same, but at the terminal it is asked twice. */
enum tg_code secret_source_read_new(const struct secret_source *source, const char *what,
                                    const char *question, struct secret **out,
                                    struct tg_error *err) TG_MUST_CHECK;

/* "7" → 7. INVALID_ARGUMENT: not a descriptor's number. */
enum tg_code secret_source_parse_fd(const char *text, int *fd, struct tg_error *err) TG_MUST_CHECK;

#endif
