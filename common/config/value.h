/* One value of a configuration: from text to the row's type, checked, and freed again. Used by common/config
 * only. */
#ifndef TG_COMMON_CONFIG_VALUE_H
#define TG_COMMON_CONFIG_VALUE_H

#include "common/config.h"
#include "common/config/tree.h"

/* Where a value stands, for messages: the file, and the whole key ("listeners[0].address"). */
struct config_place {
    const char *name;
    const char *key;
    struct tg_error *err;
};

/* A unit of durations and sizes; tables end with name NULL and go from large to small. */
struct config_unit {
    const char *name;
    int64_t factor;
};
extern const struct config_unit config_duration_units[]; /* in ms */
extern const struct config_unit config_size_units[];     /* in bytes */

/* Reads a scalar or a list of strings (all types but CONFIG_TABLES) into *slot, which is zeroed. What is
 * allocated belongs to the slot even on failure. */
enum tg_code config_value_read(const struct config_place *place, const struct config_row *row,
                               const struct config_node *node, void *slot) TG_MUST_CHECK;

/* INVALID_ARGUMENT when number (a value, a length, a count) is outside the row's bounds. */
enum tg_code config_check_bounds(const struct config_place *place, const struct config_row *row,
                                 const struct config_node *node, int64_t number) TG_MUST_CHECK;

/* The bounds as people write them: "1 to 64", "at least 5s", "" without bounds. */
void config_bounds_text(const struct config_row *row, char *out, size_t size);

#endif
