/* Configuration: one YAML file, one table per service (STYLE.md 11). Unknown key, wrong type, out of bounds,
 * given twice: an error with file, line and column before anything starts.
 *
 * A table row says where a value goes in the service's own struct. Dotted keys are nested mappings
 * ("rpc.resolver.endpoints"). Lists are either lists of strings or lists of mappings with a table of their
 * own. */
#ifndef TG_COMMON_CONFIG_H
#define TG_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum config_type {
    CONFIG_STRING,   /* char *          min/max: length */
    CONFIG_PATH,     /* char *          relative paths are resolved against the file's directory */
    CONFIG_INT,      /* int64_t         min/max: value */
    CONFIG_BOOL,     /* bool            true or false */
    CONFIG_DURATION, /* int64_t in ms   "250ms", "5s", "10m", "8h", "180d"; min/max in ms */
    CONFIG_SIZE,     /* int64_t bytes   "64KiB", "1MiB", "2GiB" or a plain number */
    CONFIG_CHOICE,   /* int (index)     one of `choices`, a NULL-ended list */
    CONFIG_STRINGS,  /* struct config_list of char * */
    CONFIG_TABLES    /* struct config_list of structs of `item_size`, each read by `item_rows` */
};

struct config_list {
    void *items; /* char ** or an array of structs; owned by the configuration */
    size_t count;
};

struct config_row {
    const char *key;
    enum config_type type;
    size_t offset;        /* offsetof in the service's struct */
    const char *fallback; /* default as it would stand in the file; NULL: the key must be given */
    int64_t min, max;     /* min = max = 0: no bounds; max = INT64_MAX: no upper bound. For lists: how many */
    const char *help;     /* one sentence, for --config-help */
    const char *const *choices;
    const struct config_row *item_rows; /* ended by a row whose key is NULL */
    size_t item_size;
};

/* Fallback of a string or path that may be absent: the value is then NULL. Of a list: it is then empty. A
 * fallback that its own row would refuse is a broken invariant, found at every start. */
#define CONFIG_OPTIONAL ""

/* Reads `path` into `out` (zeroed by the caller; sized for the table). On success out owns its strings and
 * lists until config_free. On failure nothing is owned and err->text starts with "file:line:column: ". Codes:
 * NOT_FOUND, PERMISSION_DENIED (cannot be read), INVALID_ARGUMENT. Files over 1 MiB are refused. Any thread.
 */
enum tg_code config_read(const char *path, const struct config_row *rows, void *out,
                         struct tg_error *err) TG_MUST_CHECK;

/* The same for text in memory; `name` stands for the file in messages and its directory resolves relative
 * paths. */
enum tg_code config_parse(const char *name, const char *text, size_t len, const struct config_row *rows,
                          void *out, struct tg_error *err) TG_MUST_CHECK;

/* Frees what config_read allocated and zeroes it; a struct of zeroes is fine. */
void config_free(const struct config_row *rows, void *out);

/* Prints the table for people: key, type, default, bounds, help. */
void config_help(const struct config_row *rows);

#endif
