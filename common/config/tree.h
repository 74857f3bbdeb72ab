/* A YAML file as a tree of what configuration needs, and no more: mappings, lists and scalars, each with its
 * place. Anchors, aliases, tags, a second document, keys given twice and deep nesting are refused, and sizes
 * are bounded, so that a file cannot unfold into more than it shows. Used by common/config only. */
#ifndef TG_COMMON_CONFIG_TREE_H
#define TG_COMMON_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum {
    CONFIG_FILE_MAX = 1024 * 1024, /* bytes */
    CONFIG_DEPTH_MAX = 16,
    CONFIG_NODES_MAX = 65536,
    CONFIG_KEYS_MAX = 1024 /* in one mapping */
};

enum config_node_kind { CONFIG_NODE_SCALAR, CONFIG_NODE_LIST, CONFIG_NODE_MAPPING };

/* Line and column, from 1. */
struct config_mark {
    size_t line, column;
};

struct config_node {
    enum config_node_kind kind;
    struct config_mark mark;
    char *key; /* in a mapping; owned, as all here */
    struct config_mark key_mark;
    char *text;                       /* of a scalar; no NUL byte inside */
    bool plain;                       /* written without quotes */
    struct config_node *first, *next; /* the children of a list or mapping; the next sibling */
    size_t count;                     /* of the children */
};

/* `name` stands for the file in messages. Top level must be a mapping when `mapping_only`; fallbacks need not
 * be. On OK the caller frees *root. */
enum tg_code config_tree_parse(const char *name, const char *text, size_t len, bool mapping_only,
                               struct config_node **root, struct tg_error *err) TG_MUST_CHECK;
void config_tree_free(struct config_node *node); /* NULL is fine */
/* The child of a mapping by its key, or NULL. */
const struct config_node *config_node_child(const struct config_node *mapping, const char *key,
                                            size_t key_len);

/* "name:line:column: key: " and the text; key may be NULL. Its value is INVALID_ARGUMENT. */
#define config_fail(...) (config_complain(__VA_ARGS__), TG_INVALID_ARGUMENT)
void config_complain(struct tg_error *err, const char *name, struct config_mark mark, const char *key,
                     const char *fmt, ...) TG_PRINTF(5, 6);

#endif
