/* Command lines as a table: one row an option, with what to do about it. On top of getopt_long. */
#ifndef TG_CLIENT_ARGUMENTS_H
#define TG_CLIENT_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Takes the option's value (NULL for one without) into `out`. */
typedef enum tg_code argument_take(void *out, const char *value, struct tg_error *err);

struct argument_row {
    const char *name;  /* "gateway": --gateway */
    char letter;       /* 'L': -L; 0: none */
    const char *value; /* "FILE": what it takes, for messages; NULL: nothing */
    size_t offset; /* without `take`: of the bool to set, or of the const char * for the value (borrowed from
                      argv) */
    argument_take *take;
};

/* Runs through argv[1…]. `rows` ends with one without name and letter. INVALID_ARGUMENT: an option that is
 * not in the table, a value missing or refused (the text starts with the option), or a left-over argument.
 * One thread. */
enum tg_code arguments_parse(int argc, char **argv, const struct argument_row *rows, void *out,
                             struct tg_error *err) TG_MUST_CHECK;

/* "12" → 12, within bounds. */
enum tg_code argument_number(const char *text, uint32_t least, uint32_t most, uint32_t *out,
                             struct tg_error *err) TG_MUST_CHECK;

#endif
