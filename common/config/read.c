#include "common/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config/nearest.h"
#include "common/config/tree.h"
#include "common/config/value.h"
#include "common/file.h"

enum { KEY_TEXT_MAX = 160 }; /* of a whole key in messages; longer ones are cut */

struct reader {
    const char *name;
    struct tg_error *err;
};

static enum tg_code read_mapping(const struct reader *reader, const struct config_node *mapping,
                                 const char *prefix, const struct config_row *rows, void *out);

static void *slot_of(const struct config_row *row, void *out)
{
    return (char *)out + row->offset;
}

/* ---- unknown keys ---- */

/* Whether `path` is a row's key, or the mapping that holds some ("rpc" of "rpc.timeout"). */
static bool is_known(const struct config_row *rows, const char *path, bool *leaf)
{
    size_t len = strlen(path);
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        if (strncmp(row->key, path, len) == 0 && (row->key[len] == '\0' || row->key[len] == '.')) {
            *leaf = row->key[len] == '\0';
            return true;
        }
    }
    return false;
}

static enum tg_code complain_unknown(const struct reader *reader, const struct config_node *child,
                                     const char *prefix, const char *inner, const struct config_row *rows)
{
    char hint[128];
    char whole[KEY_TEXT_MAX];
    if (strchr(child->key, '.') != NULL)
        (void)snprintf(hint, sizeof hint, "keys have no dots; nest one mapping in the other");
    else
        config_nearest_hint(rows, inner, child->key, hint, sizeof hint);
    (void)snprintf(whole, sizeof whole, "%s%s%.40s", prefix, inner, child->key);
    return config_fail(reader->err, reader->name, child->key_mark, whole, "unknown key; %s", hint);
}

/* `prefix` leads to the rows' own mapping ("listeners[0]."), `inner` from there to this one ("tls."). */
static enum tg_code refuse_unknown(const struct reader *reader, const struct config_node *mapping,
                                   const char *prefix, const char *inner, const struct config_row *rows)
{
    for (const struct config_node *child = mapping->first; child != NULL; child = child->next) {
        char path[KEY_TEXT_MAX];
        bool leaf = false;
        int len = snprintf(path, sizeof path, "%s%s", inner, child->key);
        /* A key with a dot in it would pass for two nested ones. */
        if ((size_t)len >= sizeof path || strchr(child->key, '.') != NULL || !is_known(rows, path, &leaf))
            return complain_unknown(reader, child, prefix, inner, rows);
        if (leaf || child->kind != CONFIG_NODE_MAPPING)
            continue;
        char deeper[KEY_TEXT_MAX + 1];
        (void)snprintf(deeper, sizeof deeper, "%s.", path);
        TG_TRY(refuse_unknown(reader, child, prefix, deeper, rows));
    }
    return TG_OK;
}

/* ---- values ---- */

/* Finds the node of a dotted key. *holder is the innermost mapping on the way that is there. */
static enum tg_code find_node(const struct reader *reader, const struct config_node *mapping,
                              const char *prefix, const char *key, const struct config_node **holder,
                              const struct config_node **node)
{
    const char *segment = key;
    *holder = mapping;
    for (;;) {
        size_t len = strcspn(segment, ".");
        *node = config_node_child(*holder, segment, len);
        if (*node == NULL || segment[len] == '\0')
            return TG_OK;
        if ((*node)->kind != CONFIG_NODE_MAPPING) {
            char whole[KEY_TEXT_MAX];
            (void)snprintf(whole, sizeof whole, "%s%.*s", prefix, (int)(segment + len - key), key);
            return config_fail(reader->err, reader->name, (*node)->mark, whole,
                               "must be a mapping of further keys, such as %s", segment + len + 1);
        }
        *holder = *node;
        segment += len + 1;
    }
}

static enum tg_code read_tables(const struct config_place *place, const struct config_row *row,
                                const struct config_node *node, struct config_list *list)
{
    if (node->kind != CONFIG_NODE_LIST)
        return config_fail(place->err, place->name, node->mark, place->key,
                           "is not a list; start each entry with \"- \"");
    TG_TRY(config_check_bounds(place, row, node, (int64_t)node->count));
    if (node->count == 0)
        return TG_OK;
    list->items = calloc(node->count, row->item_size);
    if (list->items == NULL)
        return config_fail(place->err, place->name, node->mark, place->key, "no memory left");
    const struct reader reader = {.name = place->name, .err = place->err};
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        char prefix[KEY_TEXT_MAX];
        (void)snprintf(prefix, sizeof prefix, "%s[%zu]", place->key, list->count);
        if (child->kind != CONFIG_NODE_MAPPING)
            return config_fail(place->err, place->name, child->mark, prefix, "must be `key: value` lines");
        (void)snprintf(prefix, sizeof prefix, "%s[%zu].", place->key, list->count);
        TG_TRY(read_mapping(&reader, child, prefix, row->item_rows,
                            (char *)list->items + list->count++ * row->item_size));
    }
    return TG_OK;
}

static enum tg_code read_value(const struct config_place *place, const struct config_row *row,
                               const struct config_node *node, void *out)
{
    if (row->type == CONFIG_TABLES)
        return read_tables(place, row, node, slot_of(row, out));
    return config_value_read(place, row, node, slot_of(row, out));
}

/* A default that its own row refuses is a mistake in our table, not in the file. */
static void use_fallback(const struct reader *reader, const struct config_row *row, void *out)
{
    struct tg_error why;
    const struct config_place place = {.name = reader->name, .key = row->key, .err = &why};
    bool list = row->type == CONFIG_STRINGS || row->type == CONFIG_TABLES;
    struct config_node scalar = {.kind = CONFIG_NODE_SCALAR, .mark = {1, 1}, .plain = true};
    struct config_node *node = &scalar;
    if (row->fallback[0] == '\0' && (list || row->type == CONFIG_STRING || row->type == CONFIG_PATH))
        return; /* CONFIG_OPTIONAL: stays NULL, or an empty list */
    if (list) {
        TG_INVARIANT(
            config_tree_parse("fallback", row->fallback, strlen(row->fallback), false, &node, &why) == TG_OK);
    } else {
        scalar.text = strdup(row->fallback);
        TG_INVARIANT(scalar.text != NULL);
    }
    TG_INVARIANT(read_value(&place, row, node, out) == TG_OK);
    if (list)
        config_tree_free(node);
    else
        free(scalar.text);
}

static enum tg_code read_row(const struct reader *reader, const struct config_node *mapping,
                             const char *prefix, const struct config_row *row, void *out)
{
    const struct config_node *holder = NULL;
    const struct config_node *node = NULL;
    TG_TRY(find_node(reader, mapping, prefix, row->key, &holder, &node));
    char key[KEY_TEXT_MAX];
    (void)snprintf(key, sizeof key, "%s%s", prefix, row->key);
    const struct config_place place = {.name = reader->name, .key = key, .err = reader->err};
    if (node != NULL)
        return read_value(&place, row, node, out);
    if (row->fallback == NULL)
        return config_fail(reader->err, reader->name, holder->mark, key,
                           "is missing in the mapping that starts here; %s", row->help);
    use_fallback(reader, row, out);
    return TG_OK;
}

static enum tg_code read_mapping(const struct reader *reader, const struct config_node *mapping,
                                 const char *prefix, const struct config_row *rows, void *out)
{
    TG_TRY(refuse_unknown(reader, mapping, prefix, "", rows));
    for (const struct config_row *row = rows; row->key != NULL; row++)
        TG_TRY(read_row(reader, mapping, prefix, row, out));
    return TG_OK;
}

/* ---- the interface ---- */

/* Broken defaults must show at the first start, not on the day a file leaves the key out. */
static void check_fallbacks(const struct reader *reader, const struct config_row *rows)
{
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        TG_INVARIANT(row->min <= row->max);
        if (row->type == CONFIG_TABLES)
            check_fallbacks(reader, row->item_rows);
        if (row->fallback == NULL)
            continue;
        union {
            int64_t number;
            char *text;
            struct config_list list;
        } scratch = {.list = {0}};
        struct config_row alone[2] = {*row, {0}};
        alone[0].offset = 0;
        use_fallback(reader, alone, &scratch);
        config_free(alone, &scratch);
    }
}

enum tg_code config_parse(const char *name, const char *text, size_t len, const struct config_row *rows,
                          void *out, struct tg_error *err)
{
    const struct reader reader = {.name = name, .err = err};
    check_fallbacks(&reader, rows);
    struct config_node *root = NULL;
    TG_TRY(config_tree_parse(name, text, len, true, &root, err));
    enum tg_code code = read_mapping(&reader, root, "", rows, out);
    config_tree_free(root);
    if (code != TG_OK)
        config_free(rows, out);
    return code;
}

enum tg_code config_read(const char *path, const struct config_row *rows, void *out, struct tg_error *err)
{
    char *text = NULL;
    size_t len = 0;
    struct tg_error why;
    enum tg_code code = file_read(path, CONFIG_FILE_MAX, &text, &len, &why);
    if (code != TG_OK) /* "path: reason" becomes "path:1:1: reason" */
        return tg_fail(err, code, "%s:1:1%s", path, why.text + strnlen(path, strlen(why.text)));
    code = config_parse(path, text, len, rows, out, err);
    free(text);
    return code;
}

static void free_list(const struct config_row *row, struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (row->type == CONFIG_TABLES)
            config_free(row->item_rows, (char *)list->items + i * row->item_size);
        else
            free(((char **)list->items)[i]);
    }
    free(list->items);
    *list = (struct config_list){0};
}

void config_free(const struct config_row *rows, void *out)
{
    static const size_t sizes[] = {
        [CONFIG_INT] = sizeof(int64_t), [CONFIG_DURATION] = sizeof(int64_t), [CONFIG_SIZE] = sizeof(int64_t),
        [CONFIG_BOOL] = sizeof(bool),   [CONFIG_CHOICE] = sizeof(int),
    };
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        void *slot = slot_of(row, out);
        if (row->type == CONFIG_STRINGS || row->type == CONFIG_TABLES) {
            free_list(row, slot);
        } else if (row->type == CONFIG_STRING || row->type == CONFIG_PATH) {
            free(*(char **)slot);
            *(char **)slot = NULL;
        } else {
            memset(slot, 0, sizes[row->type]);
        }
    }
}
