/* Every way to get a configuration wrong: refused with line, column, key and remedy, and nothing is left
 * owned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/config.h"

struct peer {
    char *address;
    int role;
};

struct sample {
    char *name;
    char *file;
    int64_t workers;
    bool fast;
    int64_t timeout;
    int64_t memory;
    int colour;
    struct config_list hosts;
    struct config_list peers;
    int64_t inner;
};

static const char *const colours[] = {"red", "green", NULL};
static const char *const roles[] = {"gateway", "operator", NULL};

#define AT(type, member) offsetof(type, member)
static const struct config_row peer_rows[] = {
    {.key = "address",
     .type = CONFIG_STRING,
     .offset = AT(struct peer, address),
     .min = 3,
     .max = 20,
     .help = "Where."},
    {.key = "role",
     .type = CONFIG_CHOICE,
     .offset = AT(struct peer, role),
     .fallback = "gateway",
     .choices = roles},
    {0},
};
static const struct config_row rows[] = {
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = AT(struct sample, name),
     .min = 2,
     .max = 8,
     .help = "Names it."},
    {.key = "file", .type = CONFIG_PATH, .offset = AT(struct sample, file), .fallback = "none"},
    {.key = "workers",
     .type = CONFIG_INT,
     .offset = AT(struct sample, workers),
     .fallback = "2",
     .min = 1,
     .max = 64},
    {.key = "fast", .type = CONFIG_BOOL, .offset = AT(struct sample, fast), .fallback = "false"},
    {.key = "timeout",
     .type = CONFIG_DURATION,
     .offset = AT(struct sample, timeout),
     .fallback = "5s",
     .min = 100,
     .max = 3600000},
    {.key = "memory",
     .type = CONFIG_SIZE,
     .offset = AT(struct sample, memory),
     .fallback = "1MiB",
     .min = 4096,
     .max = INT64_MAX},
    {.key = "colour",
     .type = CONFIG_CHOICE,
     .offset = AT(struct sample, colour),
     .fallback = "red",
     .choices = colours},
    {.key = "hosts",
     .type = CONFIG_STRINGS,
     .offset = AT(struct sample, hosts),
     .fallback = "[a]",
     .min = 1,
     .max = 2},
    {.key = "peers",
     .type = CONFIG_TABLES,
     .offset = AT(struct sample, peers),
     .fallback = "[]",
     .item_rows = peer_rows,
     .item_size = sizeof(struct peer)},
    {.key = "deep.inner.value", .type = CONFIG_INT, .offset = AT(struct sample, inner), .fallback = "0"},
    {0},
};

/* `text` is refused, and the message is exactly `expected` (after "t.yaml:"). */
static void assert_refused_bytes(const char *text, size_t len, const char *expected)
{
    struct sample out = {0};
    static const struct sample nothing;
    struct tg_error err = {0};
    assert_int_equal(config_parse("t.yaml", text, len, rows, &out, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(err.code, TG_INVALID_ARGUMENT);
    assert_memory_equal(err.text, "t.yaml:", 7);
    assert_string_equal(err.text + 7, expected);
    assert_memory_equal(&out, &nothing, sizeof out);
}

static void assert_refused(const char *text, const char *expected)
{
    assert_refused_bytes(text, strlen(text), expected);
}

static void wrong_types(void **state)
{
    (void)state;
    assert_refused("name: [a]\n", "1:7: name: is a list; give a text");
    assert_refused("name: {a: b}\n", "1:7: name: is a mapping; give a text");
    assert_refused("name: ab\nfile: [a]\n", "2:7: file: is a list; give a path");
    assert_refused("name: ab\nworkers: many\n",
                   "2:10: workers: \"many\" is not a whole number; give one such as 42");
    assert_refused("name: ab\nworkers: \"2\"\n",
                   "2:10: workers: \"2\" is a string; give a number such as 42 without quotes");
    assert_refused("name: ab\nworkers: [2]\n", "2:10: workers: is a list; give a number such as 42");
    static const char *const numbers[] = {"1.5", "0x10", "010", "1e3", "+2", "-2-", "2 3", "1_000", "-01"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[64];
        char expected[128];
        (void)snprintf(text, sizeof text, "name: ab\nworkers: %s\n", numbers[i]);
        (void)snprintf(expected, sizeof expected,
                       "2:10: workers: \"%s\" is not a whole number; give one such as 42", numbers[i]);
        assert_refused(text, expected);
    }
    assert_refused("name: ab\nfast: yes\n", "2:7: fast: \"yes\" is neither; give true or false");
    assert_refused("name: ab\nfast: 1\n", "2:7: fast: \"1\" is neither; give true or false");
    assert_refused("name: ab\nfast: True\n", "2:7: fast: \"True\" is neither; give true or false");
    assert_refused("name: ab\nfast: 'true'\n",
                   "2:7: fast: \"true\" is a string; give true or false without quotes");
    assert_refused("name: ab\ncolour: blue\n", "2:9: colour: \"blue\" is unknown; give one of red, green");
    assert_refused("name: ab\ncolour: RED\n", "2:9: colour: \"RED\" is unknown; give one of red, green");
    assert_refused("name: ab\nhosts: a\n", "2:8: hosts: is not a list; give one, as in [first, second]");
    assert_refused("name: ab\nhosts: {a: b}\n", "2:8: hosts: is not a list; give one, as in [first, second]");
    assert_refused("name: ab\nhosts: [a, [b]]\n", "2:12: hosts: is a list; give a text");
    assert_refused("name: ab\npeers: {address: abc}\n",
                   "2:8: peers: is not a list; start each entry with \"- \"");
    assert_refused("name: ab\npeers:\n  - abc\n", "3:5: peers[0]: must be `key: value` lines");
    assert_refused("name: ab\ndeep: 3\n",
                   "2:7: deep: must be a mapping of further keys, such as inner.value");
    assert_refused("name: ab\ndeep:\n  inner: []\n",
                   "3:10: deep.inner: must be a mapping of further keys, such as value");
}

static void wrong_units(void **state)
{
    (void)state;
    static const char times[] = "cannot be read; give a time such as 250ms, 5s, 10m, 8h or 180d";
    static const char *const durations[] = {"5", "5 s", "5S", "s", "1.5s", "-5s", "5sec", "5s5"};
    char text[64];
    char expected[160];
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        (void)snprintf(text, sizeof text, "name: ab\ntimeout: %s\n", durations[i]);
        (void)snprintf(expected, sizeof expected, "2:10: timeout: \"%s\" %s", durations[i], times);
        assert_refused(text, expected);
    }
    static const char *const sizes[] = {"64KB", "64K", "1mib", "MiB", "-1", "0x40"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        (void)snprintf(text, sizeof text, "name: ab\nmemory: %s\n", sizes[i]);
        (void)snprintf(expected, sizeof expected,
                       "2:9: memory: \"%s\" cannot be read; give a size such as 64KiB, 1MiB or 4096",
                       sizes[i]);
        assert_refused(text, expected);
    }
    assert_refused("name: ab\ntimeout: \"5s\"\n",
                   "2:10: timeout: \"5s\" is a string; give a time such as 250ms, 5s, "
                   "10m, 8h or 180d without quotes");
}

static void values_out_of_bounds(void **state)
{
    (void)state;
    assert_refused("name: a\n", "1:7: name: is 1 characters long; must be 2 to 8");
    assert_refused("name: abcdefghi\n", "1:7: name: is 9 characters long; must be 2 to 8");
    assert_refused("name: \"\"\n", "1:7: name: is 0 characters long; must be 2 to 8");
    assert_refused("name: ab\nworkers: 0\n", "2:10: workers: is 0; must be 1 to 64");
    assert_refused("name: ab\nworkers: 65\n", "2:10: workers: is 65; must be 1 to 64");
    assert_refused("name: ab\nworkers: -1\n", "2:10: workers: is -1; must be 1 to 64");
    assert_refused("name: ab\nworkers: 9223372036854775808\n",
                   "2:10: workers: 9223372036854775808 does not fit into 64 bits");
    assert_refused("name: ab\ntimeout: 99ms\n", "2:10: timeout: is 99ms; must be 100ms to 1h");
    assert_refused("name: ab\ntimeout: 3601s\n", "2:10: timeout: is 3601s; must be 100ms to 1h");
    assert_refused("name: ab\ntimeout: 0s\n", "2:10: timeout: is 0ms; must be 100ms to 1h");
    assert_refused("name: ab\ntimeout: 99999999999999999999d\n",
                   "2:10: timeout: 99999999999999999999d does not fit into 64 bits");
    assert_refused("name: ab\ntimeout: 9223372036854775d\n",
                   "2:10: timeout: 9223372036854775d does not fit into 64 bits");
    assert_refused("name: ab\nmemory: 9223372036854775808\n",
                   "2:9: memory: 9223372036854775808 does not fit into 64 bits");
    assert_refused("name: ab\nmemory: 4095\n", "2:9: memory: is 4095; must be at least 4KiB");
    assert_refused("name: ab\nmemory: 9007199254740992KiB\n",
                   "2:9: memory: 9007199254740992KiB does not fit into 64 bits");
    assert_refused("name: ab\nhosts: []\n", "2:8: hosts: is 0 entries; must be 1 to 2");
    assert_refused("name: ab\nhosts: [a, b, c]\n", "2:8: hosts: is 3 entries; must be 1 to 2");
    assert_refused("name: ab\nhosts: [a, '']\n",
                   "2:12: hosts: has an empty entry; give a text, or remove it");
    assert_refused("name: ab\npeers:\n  - address: ab\n",
                   "3:14: peers[0].address: is 2 characters long; must be 3 to 20");
    assert_refused("name: ab\nfile: ''\n", "2:7: file: is empty; give a path");
}

static void missing_keys_and_values(void **state)
{
    (void)state;
    assert_refused("# comment\n\nworkers: 2\n",
                   "3:1: name: is missing in the mapping that starts here; Names it.");
    assert_refused("{}\n", "1:1: name: is missing in the mapping that starts here; Names it.");
    assert_refused("name: ab\npeers:\n  - address: abc\n  - role: operator\n",
                   "4:5: peers[1].address: is missing in the mapping that starts here; Where.");
    assert_refused("name:\nworkers: 2\n", "1:6: name: has no value; give a text, or remove the line");
    assert_refused("name: ~\n", "1:7: name: has no value; give a text, or remove the line");
    assert_refused("name: null\n", "1:7: name: has no value; give a text, or remove the line");
    assert_refused("name: ab\nworkers:\n",
                   "2:9: workers: has no value; give a number such as 42, or remove the line");
    assert_refused("name: ab\nhosts: [a, ]\nfast:\n",
                   "3:6: fast: has no value; give true or false, or remove the line");
    assert_refused("name: ab\npeers:\n  - \n", "3:4: peers[0]: must be `key: value` lines");
}

static void unknown_keys(void **state)
{
    (void)state;
    assert_refused("nam: ab\n", "1:1: nam: unknown key; did you mean \"name\"?");
    assert_refused("name: ab\nworkesr: 2\n", "2:1: workesr: unknown key; did you mean \"workers\"?");
    assert_refused("name: ab\nName: ab\n", "2:1: Name: unknown key; did you mean \"name\"?");
    assert_refused(
        "name: ab\ncompletely-else: 2\n",
        "2:1: completely-else: unknown key; known here: name, file, workers, fast, timeout, memory, "
        "colour, hosts, peers, deep");
    assert_refused("name: ab\ndeep:\n  inner:\n    valeu: 3\n",
                   "4:5: deep.inner.valeu: unknown key; did you mean \"value\"?");
    assert_refused("name: ab\ndeep:\n  other: 3\n", "3:3: deep.other: unknown key; known here: inner");
    assert_refused("name: ab\ndeep.inner.value: 3\n",
                   "2:1: deep.inner.value: unknown key; keys have no dots; nest one mapping in the other");
    assert_refused("name: ab\npeers: [{address: abc, rol: operator}]\n",
                   "2:24: peers[0].rol: unknown key; did you mean \"role\"?");
    assert_refused(
        "name: ab\n<<: {workers: 2}\n",
        "2:1: <<: unknown key; known here: name, file, workers, fast, timeout, memory, colour, hosts, "
        "peers, deep");
    assert_refused("name: ab\n\"\": 2\n",
                   "2:1: : unknown key; known here: name, file, workers, fast, timeout, "
                   "memory, colour, hosts, peers, deep");
}

static void keys_given_twice(void **state)
{
    (void)state;
    assert_refused("name: ab\nworkers: 1\nname: cd\n",
                   "3:1: name: given twice; first on line 1, keep one of them");
    assert_refused("name: ab\ndeep: {inner: {value: 1}}\ndeep: {inner: {value: 2}}\n",
                   "3:1: deep: given twice; first on line 2, keep one of them");
    assert_refused("name: ab\npeers:\n  - address: abc\n    address: def\n",
                   "4:5: address: given twice; first on line 3, keep one of them");
}

static void what_could_unfold_or_hide(void **state)
{
    (void)state;
    static const char anchors[] = "anchors (&) are not allowed; write the value out";
    char expected[160];
    (void)snprintf(expected, sizeof expected, "1:7: %s", anchors);
    assert_refused("name: &n ab\n", expected);
    (void)snprintf(expected, sizeof expected, "2:8: %s", anchors);
    assert_refused("name: ab\nhosts: &h [a]\nfile: *h\n", expected);
    (void)snprintf(expected, sizeof expected, "2:7: %s", anchors);
    assert_refused("name: ab\ndeep: &d {inner: {value: 1}}\n", expected);
    (void)snprintf(expected, sizeof expected, "1:1: %s", anchors);
    assert_refused("&k name: ab\n", expected);
    assert_refused("name: *n\n", "1:7: aliases (*) are not allowed; write the value out");
    assert_refused("name: !!str ab\n", "1:7: tags (!) are not allowed; the key alone decides the type");
    assert_refused("name: ab\nhosts: !!seq [a]\n",
                   "2:8: tags (!) are not allowed; the key alone decides the type");
    assert_refused("name: ab\ndeep: !!map {}\n",
                   "2:7: tags (!) are not allowed; the key alone decides the type");
    assert_refused("name: \"a\\0b\"\n", "1:7: NUL bytes are not allowed");
    assert_refused("name: ab\n\"work\\0ers\": 2\n", "2:1: NUL bytes are not allowed");
    assert_refused("? [a]\n: b\n", "1:3: a key must be a word, as in `key: value`");
    assert_refused("name: ab\n---\nname: cd\n", "2:1: a second document starts; one is read");
}

/* head, then `piece` `count` times. The caller frees it. */
static char *repeated(const char *head, const char *piece, size_t count)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    (void)fputs(head, out);
    for (size_t i = 0; i < count; i++)
        (void)fputs(piece, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char *lists = repeated("name: ", "[", 2000);
    assert_refused(lists, "1:23: nested deeper than 16 levels");
    free(lists);
    char *mappings = repeated("", "{a: ", 2000);
    assert_refused(mappings, "1:69: nested deeper than 16 levels");
    free(mappings);
}

static void numbers_of_values_and_keys_are_bounded(void **state)
{
    (void)state;
    struct sample out = {0};
    struct tg_error err;
    char *many = repeated("name: ab\nhosts: [", "a,", 70000);
    assert_int_equal(config_parse("t.yaml", many, strlen(many), rows, &out, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "more than 65536 values"));
    free(many);

    char keys[20000];
    size_t used = 0;
    for (int i = 0; i < 1025; i++)
        used += (size_t)snprintf(keys + used, sizeof keys - used, "k%d: 1\n", i);
    assert_refused_bytes(keys, used, "1025:1: k1024: more than 1024 keys in one mapping");
}

static void what_is_not_a_yaml_mapping(void **state)
{
    (void)state;
    assert_refused("", "1:1: is empty; write `key: value` lines, --config-help lists the keys");
    assert_refused("# only a comment\n",
                   "1:1: is empty; write `key: value` lines, --config-help lists the keys");
    assert_refused("---\n", "2:1: must be `key: value` lines; --config-help lists the keys");
    assert_refused("- name\n", "1:1: must be `key: value` lines; --config-help lists the keys");
    assert_refused("just text\n", "1:1: must be `key: value` lines; --config-help lists the keys");
    assert_refused("name: ab\n  workers: 2\n", "2:10: mapping values are not allowed in this context; check "
                                               "indentation, quotes and brackets");
    assert_refused("name: 'ab\n",
                   "2:1: while scanning a quoted scalar: found unexpected end of stream; check "
                   "indentation, quotes and brackets");
    assert_refused("name: ab\n\tworkers: 2\n",
                   "2:1: while scanning a plain scalar: found a tab character that "
                   "violates indentation; check indentation, quotes and brackets");
}

static void bytes_that_are_not_text(void **state)
{
    (void)state;
    static const char nul[] = "name: ab\nfile: a\0b\n";
    assert_refused_bytes(nul, sizeof nul - 1,
                         "2:8: control characters are not allowed; the file must be text in UTF-8");
    assert_refused("name: ab\nfile: \xff\n",
                   "2:7: invalid leading UTF-8 octet; the file must be text in UTF-8");
    assert_refused("name: ab\nfile: \xc0\xaf\n",
                   "2:7: invalid length of a UTF-8 sequence; the file must be text in UTF-8");
    assert_refused("name: ab\nfile: \xe9\x87",
                   "2:7: incomplete UTF-8 octet sequence; the file must be text in UTF-8");
    assert_refused("name: ab\x1b[2J\n",
                   "1:9: control characters are not allowed; the file must be text in UTF-8");
    static const char utf16[] = "\xff\xfen\0a\0m\0e\0:\0 \0a\0b\0\n\0";
    assert_refused_bytes(utf16, sizeof utf16 - 1,
                         "1:1: invalid leading UTF-8 octet; the file must be text in UTF-8");
}

static void a_text_over_one_mebibyte(void **state)
{
    (void)state;
    size_t len = 1024 * 1024 + 1;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '#', len);
    assert_refused_bytes(text, len, "1:1: has 1048577 bytes; at most 1048576 are read");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_types),
        cmocka_unit_test(wrong_units),
        cmocka_unit_test(values_out_of_bounds),
        cmocka_unit_test(missing_keys_and_values),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(keys_given_twice),
        cmocka_unit_test(what_could_unfold_or_hide),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(numbers_of_values_and_keys_are_bounded),
        cmocka_unit_test(what_is_not_a_yaml_mapping),
        cmocka_unit_test(bytes_that_are_not_text),
        cmocka_unit_test(a_text_over_one_mebibyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
