#include "common/config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct config_unit config_duration_units[] = {
    {"d", INT64_C(86400000)}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
const struct config_unit config_size_units[] = {{"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
                                                {"KiB", 1 << 10},          {"", 1},          {NULL, 0}};

#define WRONG(place, node, ...)                                                                              \
    config_fail((place)->err, (place)->name, (node)->mark, (place)->key, __VA_ARGS__)

/* `key:` and `key: null` say nothing; which value was meant must not be guessed. */
static bool is_nothing(const struct config_node *node)
{
    return node->plain &&
           (strcmp(node->text, "") == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

static enum tg_code scalar_text(const struct config_place *place, const struct config_node *node,
                                const char *wanted, const char **text)
{
    if (node->kind != CONFIG_NODE_SCALAR)
        return WRONG(place, node, "is a %s; give %s", node->kind == CONFIG_NODE_LIST ? "list" : "mapping",
                     wanted);
    if (is_nothing(node))
        return WRONG(place, node, "has no value; give %s, or remove the line", wanted);
    *text = node->text;
    return TG_OK;
}

/* A value of numbers and words must not be quoted: "5" is a string. */
static enum tg_code plain_text(const struct config_place *place, const struct config_node *node,
                               const char *wanted, const char **text)
{
    TG_TRY(scalar_text(place, node, wanted, text));
    if (!node->plain)
        return WRONG(place, node, "\"%.32s\" is a string; give %s without quotes", *text, wanted);
    return TG_OK;
}

/* Prints a number in the largest unit that is exact. */
static void number_text(const struct config_row *row, int64_t number, char *out, size_t size)
{
    const struct config_unit *unit = row->type == CONFIG_DURATION ? config_duration_units
                                     : row->type == CONFIG_SIZE   ? config_size_units
                                                                  : NULL;
    while (unit != NULL && unit->factor > 1 && (number == 0 || number % unit->factor != 0))
        unit++;
    (void)snprintf(out, size, "%" PRId64 "%s", unit == NULL ? number : number / unit->factor,
                   unit == NULL ? "" : unit->name);
}

void config_bounds_text(const struct config_row *row, char *out, size_t size)
{
    char min[32];
    char max[32];
    number_text(row, row->min, min, sizeof min);
    number_text(row, row->max, max, sizeof max);
    if (row->min == 0 && row->max == 0)
        (void)snprintf(out, size, "%s", "");
    else if (row->min == row->max)
        (void)snprintf(out, size, "exactly %s", min);
    else if (row->max == INT64_MAX)
        (void)snprintf(out, size, "at least %s", min);
    else
        (void)snprintf(out, size, "%s to %s", min, max);
}

enum tg_code config_check_bounds(const struct config_place *place, const struct config_row *row,
                                 const struct config_node *node, int64_t number)
{
    if ((row->min == 0 && row->max == 0) || (number >= row->min && number <= row->max))
        return TG_OK;
    const char *what = row->type == CONFIG_STRING || row->type == CONFIG_PATH      ? " characters long"
                       : row->type == CONFIG_STRINGS || row->type == CONFIG_TABLES ? " entries"
                                                                                   : "";
    char bounds[80];
    char is[32];
    config_bounds_text(row, bounds, sizeof bounds);
    number_text(row, number, is, sizeof is);
    return WRONG(place, node, "is %s%s; must be %s", is, what, bounds);
}

static enum tg_code read_int(const struct config_place *place, const struct config_row *row,
                             const struct config_node *node, int64_t *slot)
{
    const char *text = NULL;
    TG_TRY(plain_text(place, node, "a number such as 42", &text));
    const char *digits = text + (text[0] == '-');
    size_t len = strspn(digits, "0123456789");
    /* 010 is ten to people and eight to YAML 1.1. */
    if (len == 0 || digits[len] != '\0' || (len > 1 && digits[0] == '0'))
        return WRONG(place, node, "\"%.32s\" is not a whole number; give one such as 42", text);
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (errno == ERANGE)
        return WRONG(place, node, "%.32s does not fit into 64 bits", text);
    TG_TRY(config_check_bounds(place, row, node, number));
    *slot = number;
    return TG_OK;
}

static enum tg_code read_with_unit(const struct config_place *place, const struct config_row *row,
                                   const struct config_node *node, const struct config_unit *unit,
                                   const char *wanted, int64_t *slot)
{
    const char *text = NULL;
    TG_TRY(plain_text(place, node, wanted, &text));
    size_t digits = strspn(text, "0123456789");
    while (unit->name != NULL && strcmp(text + digits, unit->name) != 0)
        unit++;
    if (digits == 0 || unit->name == NULL)
        return WRONG(place, node, "\"%.32s\" cannot be read; give %s", text, wanted);
    errno = 0;
    int64_t number = strtoll(text, NULL, 10);
    if (errno == ERANGE || __builtin_mul_overflow(number, unit->factor, &number))
        return WRONG(place, node, "%.32s does not fit into 64 bits", text);
    TG_TRY(config_check_bounds(place, row, node, number));
    *slot = number;
    return TG_OK;
}

static enum tg_code read_bool(const struct config_place *place, const struct config_node *node, bool *slot)
{
    const char *text = NULL;
    TG_TRY(plain_text(place, node, "true or false", &text));
    *slot = strcmp(text, "true") == 0;
    if (!*slot && strcmp(text, "false") != 0)
        return WRONG(place, node, "\"%.32s\" is neither; give true or false", text);
    return TG_OK;
}

static enum tg_code read_choice(const struct config_place *place, const struct config_row *row,
                                const struct config_node *node, int *slot)
{
    char wanted[128] = "one of";
    for (int i = 0; row->choices[i] != NULL; i++) {
        size_t used = strlen(wanted);
        (void)snprintf(wanted + used, sizeof wanted - used, "%s %s", i == 0 ? "" : ",", row->choices[i]);
    }
    const char *text = NULL;
    TG_TRY(scalar_text(place, node, wanted, &text));
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(text, row->choices[i]) == 0) {
            *slot = i;
            return TG_OK;
        }
    }
    return WRONG(place, node, "\"%.32s\" is unknown; give %s", text, wanted);
}

/* How much of the file's name goes before a relative path: its directory. */
static int directory_len(const char *name, const char *path)
{
    const char *slash = strrchr(name, '/');
    return path[0] == '/' || slash == NULL ? 0 : (int)(slash - name) + 1;
}

static enum tg_code read_text(const struct config_place *place, const struct config_row *row,
                              const struct config_node *node, char **slot)
{
    const char *text = NULL;
    bool path = row->type == CONFIG_PATH;
    TG_TRY(scalar_text(place, node, path ? "a path" : "a text", &text));
    if (text[0] == '\0' && row->fallback != NULL && row->fallback[0] == '\0')
        return TG_OK; /* CONFIG_OPTIONAL, written out */
    if (path && text[0] == '\0')
        return WRONG(place, node, "is empty; give a path");
    TG_TRY(config_check_bounds(place, row, node, (int64_t)strlen(text)));
    if (asprintf(slot, "%.*s%s", path ? directory_len(place->name, text) : 0, place->name, text) < 0) {
        *slot = NULL;
        return WRONG(place, node, "no memory left");
    }
    return TG_OK;
}

static enum tg_code read_strings(const struct config_place *place, const struct config_row *row,
                                 const struct config_node *node, struct config_list *slot)
{
    if (node->kind != CONFIG_NODE_LIST)
        return WRONG(place, node, "is not a list; give one, as in [first, second]");
    TG_TRY(config_check_bounds(place, row, node, (int64_t)node->count));
    if (node->count == 0)
        return TG_OK;
    char **items = calloc(node->count, sizeof *items);
    if (items == NULL)
        return WRONG(place, node, "no memory left");
    slot->items = items;
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        const char *text = NULL;
        TG_TRY(scalar_text(place, child, "a text", &text));
        if (text[0] == '\0')
            return WRONG(place, child, "has an empty entry; give a text, or remove it");
        items[slot->count] = strdup(text);
        if (items[slot->count] == NULL)
            return WRONG(place, child, "no memory left");
        slot->count++;
    }
    return TG_OK;
}

enum tg_code config_value_read(const struct config_place *place, const struct config_row *row,
                               const struct config_node *node, void *slot)
{
    switch (row->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        return read_text(place, row, node, slot);
    case CONFIG_INT:
        return read_int(place, row, node, slot);
    case CONFIG_BOOL:
        return read_bool(place, node, slot);
    case CONFIG_DURATION:
        return read_with_unit(place, row, node, config_duration_units,
                              "a time such as 250ms, 5s, 10m, 8h or 180d", slot);
    case CONFIG_SIZE:
        return read_with_unit(place, row, node, config_size_units, "a size such as 64KiB, 1MiB or 4096",
                              slot);
    case CONFIG_CHOICE:
        return read_choice(place, row, node, slot);
    case CONFIG_STRINGS:
        return read_strings(place, row, node, slot);
    case CONFIG_TABLES:
    default:
        TG_INVARIANT(!"a type of one value");
        return TG_INTERNAL;
    }
}
