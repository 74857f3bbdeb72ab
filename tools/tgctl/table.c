#include "tools/tgctl/table.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/error.h"
#include "common/utf8.h"

enum { COLUMNS_MAX = 16 };

static void row_set(json_t *row, const char *key, json_t *value)
{
    TG_INVARIANT(value != NULL && json_object_set_new(row, key, value) == 0);
}

void row_text(json_t *row, const char *key, const char *text)
{
    json_t *value;

    if (text == NULL || text[0] == '\0') {
        row_set(row, key, json_null());
        return;
    }
    value = json_string(text);
    row_set(row, key, value != NULL ? value : json_string("?"));
}

void row_number(json_t *row, const char *key, uint64_t number)
{
    row_set(row, key, json_integer((json_int_t)number));
}

void row_flag(json_t *row, const char *key, bool flag)
{
    row_set(row, key, json_boolean(flag));
}

void table_time(uint64_t seconds, char out[21])
{
    time_t at = (time_t)seconds;
    struct tm parts;

    if (gmtime_r(&at, &parts) == NULL || strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, 21, "?");
}

void row_time(json_t *row, const char *key, uint64_t seconds)
{
    char text[21];

    if (seconds != 0)
        table_time(seconds, text);
    row_text(row, key, seconds != 0 ? text : NULL);
}

/* A string, made harmless for a terminal: it may come from strangers. U+FFFD takes 3 bytes. */
static char *clean(const char *text)
{
    size_t len = strlen(text);
    char *out = malloc(3 * len + 1);

    if (out != NULL)
        (void)utf8_clean(out, 3 * len + 1, text, len, false);
    return out;
}

char *table_cell(const json_t *value)
{
    char *text = NULL;

    if (value == NULL || json_is_null(value))
        text = strdup("-");
    else if (json_is_boolean(value))
        text = strdup(json_is_true(value) ? "yes" : "no");
    else if (json_is_string(value))
        text = clean(json_string_value(value));
    else
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    TG_INVARIANT(text != NULL);
    return text;
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void put_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
    size_t own = width_of(text);
    int padding = own < width ? (int)(width - own) : 0;

    if (right)
        fprintf(out, "%*s%s", padding, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : padding, "");
    fputs(last ? "\n" : "  ", out);
}

static void put_row(FILE *out, const struct table_column *columns, const size_t *widths, const json_t *row)
{
    for (size_t i = 0; columns[i].key != NULL; i++) {
        const json_t *value = row != NULL ? json_object_get(row, columns[i].key) : NULL;
        char *text = row != NULL ? table_cell(value) : strdup(columns[i].title);

        TG_INVARIANT(text != NULL);
        put_cell(out, text, widths[i], json_is_integer(value), columns[i + 1].key == NULL);
        free(text);
    }
}

static void measure(const struct table_column *columns, const json_t *rows, size_t *widths)
{
    size_t index;
    const json_t *row;

    for (size_t i = 0; columns[i].key != NULL; i++) {
        TG_INVARIANT(i < COLUMNS_MAX);
        widths[i] = width_of(columns[i].title);
        json_array_foreach(rows, index, row)
        {
            char *text = table_cell(json_object_get(row, columns[i].key));
            size_t width = width_of(text);

            if (width > widths[i])
                widths[i] = width;
            free(text);
        }
    }
}

static void print_json(FILE *out, const json_t *rows)
{
    size_t index;
    const json_t *row;

    json_array_foreach(rows, index, row)
    {
        (void)json_dumpf(row, out, JSON_COMPACT); /* ferror tells below */
        fputc('\n', out);
    }
}

enum tgctl_exit table_print(const struct tgctl *ctl, const struct table_column *columns, const json_t *rows)
{
    size_t widths[COLUMNS_MAX] = {0};
    size_t index;
    const json_t *row;

    if (ctl->json) {
        print_json(ctl->out, rows);
    } else {
        measure(columns, rows, widths);
        put_row(ctl->out, columns, widths, NULL);
        json_array_foreach(rows, index, row)
        {
            put_row(ctl->out, columns, widths, row);
        }
    }
    if (fflush(ctl->out) != 0 || ferror(ctl->out)) {
        fprintf(stderr, "tgctl: the output could not be written\n");
        return EXIT_OUTPUT;
    }
    return EXIT_DONE;
}

enum tgctl_exit table_print_one(const struct tgctl *ctl, const struct table_column *columns, json_t *row)
{
    json_t *rows = json_array();
    enum tgctl_exit code;

    TG_INVARIANT(rows != NULL && json_array_append_new(rows, row) == 0);
    code = table_print(ctl, columns, rows);
    json_decref(rows);
    return code;
}
