/* What a command answers: rows, shown as a table for people or as one JSON object a line for programs. */
#ifndef TG_TOOLS_TGCTL_TABLE_H
#define TG_TOOLS_TGCTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/tgctl/tgctl.h"

struct table_column {
    const char *key;   /* of the row's object */
    const char *title; /* "SHIELD" */
};

/* Fields of a row. Text that is not UTF-8 becomes "?"; NULL and "" become null. Times are Unix seconds, shown
 * in UTC (RFC 3339); 0: null. */
void row_text(json_t *row, const char *key, const char *text);
void row_number(json_t *row, const char *key, uint64_t number);
void row_flag(json_t *row, const char *key, bool flag);
void row_time(json_t *row, const char *key, uint64_t seconds);

/* Prints `rows` (an array of objects; borrowed) and flushes. `columns` ends with key NULL. EXIT_OUTPUT when
 * the output is gone. */
enum tgctl_exit table_print(const struct tgctl *ctl, const struct table_column *columns, const json_t *rows);
/* The same for one row; takes the reference. */
enum tgctl_exit table_print_one(const struct tgctl *ctl, const struct table_column *columns, json_t *row);

/* Text of a field for a terminal: control characters, which may come from strangers, become "?". The caller
 * frees. */
char *table_cell(const json_t *value);

/* "2026-11-22T20:14:11Z" */
void table_time(uint64_t seconds, char out[21]);

#endif
