#include "common/config/tree.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct loader {
    yaml_parser_t parser;
    const char *name;
    const char *text;
    size_t nodes;
    struct tg_error *err;
};

void config_complain(struct tg_error *err, const char *name, struct config_mark mark, const char *key,
                     const char *fmt, ...)
{
    char what[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    (void)tg_fail(err, TG_INVALID_ARGUMENT, "%s:%zu:%zu: %s%s%s", name, mark.line, mark.column,
                  key == NULL ? "" : key, key == NULL ? "" : ": ", what);
}

void config_tree_free(struct config_node *node)
{
    while (node != NULL) {
        struct config_node *next = node->next;
        config_tree_free(node->first); /* no deeper than CONFIG_DEPTH_MAX */
        free(node->key);
        free(node->text);
        free(node);
        node = next;
    }
}

const struct config_node *config_node_child(const struct config_node *mapping, const char *key,
                                            size_t key_len)
{
    for (const struct config_node *child = mapping->first; child != NULL; child = child->next)
        if (strlen(child->key) == key_len && memcmp(child->key, key, key_len) == 0)
            return child;
    return NULL;
}

static struct config_mark mark_of(yaml_mark_t mark)
{
    return (struct config_mark){.line = mark.line + 1, .column = mark.column + 1};
}

/* libyaml's reader, which finds bytes that are not UTF-8, knows only their offset. */
static struct config_mark mark_at_offset(const char *text, size_t offset)
{
    struct config_mark mark = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        mark.column++;
        if (text[i] == '\n')
            mark = (struct config_mark){mark.line + 1, 1};
    }
    return mark;
}

static enum tg_code out_of_memory(const struct loader *loader)
{
    return tg_fail(loader->err, TG_RESOURCE_EXHAUSTED, "%s:1:1: no memory left to read it", loader->name);
}

static enum tg_code next_event(struct loader *loader, yaml_event_t *event)
{
    yaml_parser_t *parser = &loader->parser;
    if (yaml_parser_parse(parser, event) == 1)
        return TG_OK;
    const char *problem = parser->problem == NULL ? "not YAML" : parser->problem;
    if (parser->error == YAML_MEMORY_ERROR)
        return out_of_memory(loader);
    if (parser->error == YAML_READER_ERROR)
        return config_fail(loader->err, loader->name, mark_at_offset(loader->text, parser->problem_offset),
                           NULL, "%s; the file must be text in UTF-8", problem);
    return config_fail(loader->err, loader->name, mark_of(parser->problem_mark), NULL,
                       "%s%s%s; check indentation, quotes and brackets",
                       parser->context == NULL ? "" : parser->context, parser->context == NULL ? "" : ": ",
                       problem);
}

static enum tg_code refuse_anchor_and_tag(const struct loader *loader, struct config_mark mark,
                                          const void *anchor, const void *tag)
{
    if (anchor != NULL)
        return config_fail(loader->err, loader->name, mark, NULL,
                           "anchors (&) are not allowed; write the value out");
    if (tag != NULL)
        return config_fail(loader->err, loader->name, mark, NULL,
                           "tags (!) are not allowed; the key alone decides the type");
    return TG_OK;
}

static enum tg_code new_node(struct loader *loader, enum config_node_kind kind, struct config_mark mark,
                             struct config_node **out)
{
    if (++loader->nodes > CONFIG_NODES_MAX)
        return config_fail(loader->err, loader->name, mark, NULL, "more than %d values", CONFIG_NODES_MAX);
    struct config_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return out_of_memory(loader);
    node->kind = kind;
    node->mark = mark;
    *out = node;
    return TG_OK;
}

/* A copy of the scalar's text. A NUL byte (written "\0") would end a C string early and hide the rest. */
static enum tg_code copy_text(struct loader *loader, const yaml_event_t *event, char **out)
{
    const void *value = event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct config_mark mark = mark_of(event->start_mark);
    TG_TRY(refuse_anchor_and_tag(loader, mark, event->data.scalar.anchor, event->data.scalar.tag));
    if (memchr(value, 0, len) != NULL)
        return config_fail(loader->err, loader->name, mark, NULL, "NUL bytes are not allowed");
    *out = calloc(1, len + 1);
    if (*out == NULL)
        return out_of_memory(loader);
    memcpy(*out, value, len);
    return TG_OK;
}

static enum tg_code build(struct loader *loader, const yaml_event_t *event, unsigned depth,
                          struct config_node **out);

static enum tg_code build_scalar(struct loader *loader, const yaml_event_t *event, struct config_node **out)
{
    TG_TRY(new_node(loader, CONFIG_NODE_SCALAR, mark_of(event->start_mark), out));
    (*out)->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return copy_text(loader, event, &(*out)->text);
}

static enum tg_code build_list(struct loader *loader, const yaml_event_t *start, unsigned depth,
                               struct config_node **out)
{
    struct config_mark mark = mark_of(start->start_mark);
    TG_TRY(refuse_anchor_and_tag(loader, mark, start->data.sequence_start.anchor,
                                 start->data.sequence_start.tag));
    TG_TRY(new_node(loader, CONFIG_NODE_LIST, mark, out));
    struct config_node **link = &(*out)->first;
    for (;;) {
        TG_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        TG_TRY(next_event(loader, &event));
        if (event.type == YAML_SEQUENCE_END_EVENT)
            return TG_OK;
        TG_TRY(build(loader, &event, depth + 1, link));
        link = &(*link)->next;
        (*out)->count++;
    }
}

/* The key of the next entry; *key stays NULL at the mapping's end. */
static enum tg_code read_key(struct loader *loader, const struct config_node *mapping, char **key,
                             struct config_mark *mark)
{
    TG_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    TG_TRY(next_event(loader, &event));
    if (event.type == YAML_MAPPING_END_EVENT)
        return TG_OK;
    *mark = mark_of(event.start_mark);
    if (event.type != YAML_SCALAR_EVENT)
        return config_fail(loader->err, loader->name, *mark, NULL,
                           "a key must be a word, as in `key: value`");
    TG_TRY(copy_text(loader, &event, key));
    const struct config_node *earlier = config_node_child(mapping, *key, strlen(*key));
    if (earlier != NULL)
        return config_fail(loader->err, loader->name, *mark, *key,
                           "given twice; first on line %zu, keep one of them", earlier->key_mark.line);
    if (mapping->count >= CONFIG_KEYS_MAX)
        return config_fail(loader->err, loader->name, *mark, *key, "more than %d keys in one mapping",
                           CONFIG_KEYS_MAX);
    return TG_OK;
}

static void free_key(char **key)
{
    free(*key);
}

/* One `key: value`; *more is false at the mapping's end. */
static enum tg_code build_entry(struct loader *loader, struct config_node *mapping, unsigned depth,
                                struct config_node **link, bool *more)
{
    TG_CLEANUP(free_key) char *key = NULL;
    struct config_mark mark = {0};
    TG_TRY(read_key(loader, mapping, &key, &mark));
    *more = key != NULL;
    if (!*more)
        return TG_OK;
    TG_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    TG_TRY(next_event(loader, &event));
    struct config_node *value = NULL;
    enum tg_code code = build(loader, &event, depth + 1, &value);
    if (code != TG_OK) {
        config_tree_free(value);
        return code;
    }
    value->key = key;
    value->key_mark = mark;
    key = NULL;
    *link = value;
    mapping->count++;
    return TG_OK;
}

static enum tg_code build_mapping(struct loader *loader, const yaml_event_t *start, unsigned depth,
                                  struct config_node **out)
{
    struct config_mark mark = mark_of(start->start_mark);
    TG_TRY(
        refuse_anchor_and_tag(loader, mark, start->data.mapping_start.anchor, start->data.mapping_start.tag));
    TG_TRY(new_node(loader, CONFIG_NODE_MAPPING, mark, out));
    struct config_node **link = &(*out)->first;
    for (bool more = true; more;) {
        TG_TRY(build_entry(loader, *out, depth, link, &more));
        if (more)
            link = &(*link)->next;
    }
    return TG_OK;
}

/* The node that starts with `event`. On failure *out may hold a part, which the caller frees. */
static enum tg_code build(struct loader *loader, const yaml_event_t *event, unsigned depth,
                          struct config_node **out)
{
    struct config_mark mark = mark_of(event->start_mark);
    if (depth > CONFIG_DEPTH_MAX)
        return config_fail(loader->err, loader->name, mark, NULL, "nested deeper than %d levels",
                           CONFIG_DEPTH_MAX);
    if (event->type == YAML_SCALAR_EVENT)
        return build_scalar(loader, event, out);
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return build_list(loader, event, depth, out);
    if (event->type == YAML_MAPPING_START_EVENT)
        return build_mapping(loader, event, depth, out);
    return config_fail(loader->err, loader->name, mark, NULL,
                       "aliases (*) are not allowed; write the value out");
}

/* Skips the event that must come next, such as the stream's start. *found: it did come. */
static enum tg_code skip(struct loader *loader, yaml_event_type_t type, bool *found, struct config_mark *mark)
{
    TG_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    TG_TRY(next_event(loader, &event));
    *found = event.type == type;
    *mark = mark_of(event.start_mark);
    return TG_OK;
}

static enum tg_code build_document(struct loader *loader, bool mapping_only, struct config_node **root)
{
    bool found = false;
    struct config_mark mark = {0};
    TG_TRY(skip(loader, YAML_STREAM_START_EVENT, &found, &mark));
    TG_TRY(skip(loader, YAML_DOCUMENT_START_EVENT, &found, &mark));
    if (!found)
        return config_fail(loader->err, loader->name, (struct config_mark){1, 1}, NULL,
                           "is empty; write `key: value` lines, --config-help lists the keys");
    TG_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    TG_TRY(next_event(loader, &event));
    TG_TRY(build(loader, &event, 0, root));
    if (mapping_only && (*root)->kind != CONFIG_NODE_MAPPING)
        return config_fail(loader->err, loader->name, (*root)->mark, NULL,
                           "must be `key: value` lines; --config-help lists the keys");
    TG_TRY(skip(loader, YAML_DOCUMENT_END_EVENT, &found, &mark));
    TG_TRY(skip(loader, YAML_STREAM_END_EVENT, &found, &mark));
    if (!found)
        return config_fail(loader->err, loader->name, mark, NULL, "a second document starts; one is read");
    return TG_OK;
}

enum tg_code config_tree_parse(const char *name, const char *text, size_t len, bool mapping_only,
                               struct config_node **root, struct tg_error *err)
{
    struct loader loader = {.name = name, .text = text, .err = err};
    *root = NULL;
    if (len > CONFIG_FILE_MAX)
        return config_fail(err, name, (struct config_mark){1, 1}, NULL, "has %zu bytes; at most %d are read",
                           len, CONFIG_FILE_MAX);
    if (yaml_parser_initialize(&loader.parser) != 1)
        return out_of_memory(&loader);
    yaml_parser_set_encoding(&loader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loader.parser, (const unsigned char *)text, len);
    enum tg_code code = build_document(&loader, mapping_only, root);
    yaml_parser_delete(&loader.parser);
    if (code != TG_OK) {
        config_tree_free(*root);
        *root = NULL;
    }
    return code;
}
