/* Configuration text, against a table with every type, nested keys and lists. */
#include <stdint.h>

#include "common/config.h"

struct item {
    char *name;
    int64_t number;
};

struct target {
    char *text, *path;
    int64_t number, time, size;
    bool flag;
    int choice;
    struct config_list words, items;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROW(key_, type_, member, ...)                                                                        \
    {                                                                                                        \
        .key = key_, .type = type_, .offset = offsetof(struct target, member), __VA_ARGS__                   \
    }
static const char *const choices[] = {"one", "two", NULL};
static const struct config_row item_rows[] = {
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(struct item, name),
     .min = 1,
     .max = 9,
     .help = "x"},
    {.key = "deep.number", .type = CONFIG_INT, .offset = offsetof(struct item, number), .fallback = "1"},
    {.key = NULL},
};
static const struct config_row rows[] = {
    ROW("text", CONFIG_STRING, text, .fallback = CONFIG_OPTIONAL),
    ROW("path", CONFIG_PATH, path, .fallback = "x"),
    ROW("number", CONFIG_INT, number, .fallback = "1", .min = -9, .max = 9),
    ROW("a.time", CONFIG_DURATION, time, .fallback = "1s"),
    ROW("a.b.size", CONFIG_SIZE, size, .fallback = "1KiB"),
    ROW("flag", CONFIG_BOOL, flag, .fallback = "true"),
    ROW("choice", CONFIG_CHOICE, choice, .fallback = "one", .choices = choices),
    ROW("words", CONFIG_STRINGS, words, .fallback = "[a, b]", .max = 9),
    ROW("items", CONFIG_TABLES, items, .fallback = CONFIG_OPTIONAL, .max = 9, .item_rows = item_rows,
        .item_size = sizeof(struct item)),
    {.key = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct target out = {0};
    struct tg_error err;
    if (config_parse("conf/f.yaml", (const char *)data, len, rows, &out, &err) == TG_OK) {
        /* What was accepted keeps its rows' promises. */
        const struct item *items = out.items.items;
        TG_INVARIANT(out.path != NULL && out.number >= -9 && out.number <= 9);
        TG_INVARIANT(out.words.count <= 9 && out.items.count <= 9);
        for (size_t i = 0; i < out.items.count; i++)
            TG_INVARIANT(items[i].name != NULL);
    }
    config_free(rows, &out);
    return 0;
}
