#include "client/arguments.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 48, FIRST_LONG = 256 };

static size_t make_tables(const struct argument_row *rows, struct option longs[ROWS_MAX + 1],
                          char shorts[2 * ROWS_MAX + 2])
{
    size_t count = 0, used = 0, named = 0;
    shorts[used++] = ':'; /* a missing value is told apart from an unknown option */
    for (; rows[count].name != NULL || rows[count].letter != 0; count++) {
        TG_INVARIANT(count < ROWS_MAX);
        int has_value = rows[count].value != NULL ? required_argument : no_argument;
        if (rows[count].name != NULL)
            longs[named++] = (struct option){rows[count].name, has_value, NULL, FIRST_LONG + (int)count};
        if (rows[count].letter != 0) {
            shorts[used++] = rows[count].letter;
            if (has_value != no_argument)
                shorts[used++] = ':';
        }
    }
    longs[named] = (struct option){0};
    shorts[used] = '\0';
    return count;
}

static const struct argument_row *find(const struct argument_row *rows, size_t count, int code)
{
    if (code >= FIRST_LONG && (size_t)(code - FIRST_LONG) < count)
        return &rows[code - FIRST_LONG];
    for (size_t i = 0; i < count; i++) {
        if (rows[i].letter != 0 && rows[i].letter == code)
            return &rows[i];
    }
    return NULL;
}

static enum tg_code keep(const struct argument_row *row, void *out, const char *value, struct tg_error *err)
{
    void *place = (char *)out + row->offset;
    if (value == NULL) {
        *(bool *)place = true;
        return TG_OK;
    }
    TG_ENSURE(value[0] != '\0', err, TG_INVALID_ARGUMENT, "the %s is empty", row->value);
    *(const char **)place = value;
    return TG_OK;
}

static enum tg_code take(const struct argument_row *row, void *out, const char *value, struct tg_error *err)
{
    struct tg_error why;
    enum tg_code code = row->take != NULL ? row->take(out, value, &why) : keep(row, out, value, &why);
    if (code == TG_OK)
        return TG_OK;
    if (row->name != NULL)
        return tg_fail(err, code, "--%s: %s", row->name, why.text);
    return tg_fail(err, code, "-%c: %s", row->letter, why.text);
}

enum tg_code arguments_parse(int argc, char **argv, const struct argument_row *rows, void *out,
                             struct tg_error *err)
{
    struct option longs[ROWS_MAX + 1];
    char shorts[2 * ROWS_MAX + 2];
    size_t count = make_tables(rows, longs, shorts);
    optind = 0; /* GNU: start anew */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        const char *shown = optind > 0 && optind <= argc ? argv[optind - 1] : "";
        const struct argument_row *row = find(rows, count, code);
        TG_ENSURE(code != ':', err, TG_INVALID_ARGUMENT, "%.60s: the value is missing", shown);
        TG_ENSURE(row != NULL, err, TG_INVALID_ARGUMENT, "%.60s: no such option, or it takes no value",
                  shown);
        TG_TRY(take(row, out, optarg, err));
    }
    TG_ENSURE(optind == argc, err, TG_INVALID_ARGUMENT,
              "%.60s: what is this for? Every argument needs its option", argv[optind]);
    return TG_OK;
}

enum tg_code argument_number(const char *text, uint32_t least, uint32_t most, uint32_t *out,
                             struct tg_error *err)
{
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    int good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && strlen(text) <= 10;
    TG_ENSURE(good && number >= least && number <= most, err, TG_INVALID_ARGUMENT,
              "\"%.40s\" is not a number from %u to %u", text, least, most);
    *out = (uint32_t)number;
    return TG_OK;
}
