#include "common/config.h"

#include <stdio.h>
#include <string.h>

#include "common/config/value.h"

static const char *type_text(const struct config_row *row)
{
    static const char *const texts[] = {
        [CONFIG_STRING] = "text",
        [CONFIG_PATH] = "path, from the file's directory on",
        [CONFIG_INT] = "number",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_DURATION] = "time such as 250ms, 5s or 8h",
        [CONFIG_SIZE] = "size such as 4096, 64KiB or 1MiB",
        [CONFIG_CHOICE] = "one of",
        [CONFIG_STRINGS] = "list of texts",
        [CONFIG_TABLES] = "list of mappings",
    };
    return texts[row->type];
}

static void print_bounds(const struct config_row *row)
{
    char bounds[80];
    config_bounds_text(row, bounds, sizeof bounds);
    if (bounds[0] == '\0')
        return;
    bool characters = row->type == CONFIG_STRING || row->type == CONFIG_PATH;
    bool entries = row->type == CONFIG_STRINGS || row->type == CONFIG_TABLES;
    printf(", %s%s", bounds, characters ? " characters" : entries ? " entries" : "");
}

static void print_row(const struct config_row *row, const char *prefix)
{
    printf("%s%s: %s", prefix, row->key, type_text(row));
    for (size_t i = 0; row->type == CONFIG_CHOICE && row->choices[i] != NULL; i++)
        printf("%s %s", i == 0 ? "" : ",", row->choices[i]);
    print_bounds(row);
    if (row->fallback == NULL)
        printf("; required\n");
    else if (row->fallback[0] == '\0')
        printf("; optional\n");
    else
        printf("; default %s\n", row->fallback);
    printf("    %s\n", row->help == NULL ? "" : row->help);
}

static void print_rows(const struct config_row *rows, const char *prefix)
{
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        print_row(row, prefix);
        if (row->type != CONFIG_TABLES)
            continue;
        char deeper[160];
        (void)snprintf(deeper, sizeof deeper, "%s%s[].", prefix, row->key);
        print_rows(row->item_rows, deeper);
    }
}

void config_help(const struct config_row *rows)
{
    printf(
        "The configuration is a YAML file. A dot in a key is a nested mapping; [] an entry of a list.\n\n");
    print_rows(rows, "");
}
