#include "common/config/nearest.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 64 };

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance: how many characters to add, drop or change. Words are at most WORD_MAX long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

/* The word that a row has in the mapping `inner`, or NULL: "tls" of "rpc.tls.key" in "rpc.". */
static const char *word_in(const struct config_row *row, const char *inner, size_t *len)
{
    size_t skip = strlen(inner);
    if (strncmp(row->key, inner, skip) != 0)
        return NULL;
    *len = strcspn(row->key + skip, ".");
    return row->key + skip;
}

static const char *nearest(const struct config_row *rows, const char *inner, const char *unknown, size_t *len)
{
    size_t unknown_len = strlen(unknown);
    const char *best = NULL;
    size_t best_distance = 1 + unknown_len / 4; /* further away it is another word */
    for (const struct config_row *row = rows; row->key != NULL && unknown_len <= WORD_MAX; row++) {
        size_t word_len = 0;
        const char *word = word_in(row, inner, &word_len);
        if (word == NULL || word_len > WORD_MAX)
            continue;
        size_t d = distance(unknown, unknown_len, word, word_len);
        if (d <= best_distance && (best == NULL || d < best_distance)) {
            best = word;
            best_distance = d;
            *len = word_len;
        }
    }
    return best;
}

static void list_known(const struct config_row *rows, const char *inner, char *out, size_t size)
{
    const char *last = NULL;
    size_t last_len = 0;
    (void)snprintf(out, size, "known here:");
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        size_t len = 0;
        const char *word = word_in(row, inner, &len);
        if (word == NULL || (last != NULL && len == last_len && memcmp(word, last, len) == 0))
            continue; /* rows of one nested mapping stand together */
        size_t used = strlen(out);
        if (used + len + 6 > size) {
            (void)snprintf(out + used, size - used, " ...");
            return;
        }
        (void)snprintf(out + used, size - used, "%s %.*s", last == NULL ? "" : ",", (int)len, word);
        last = word;
        last_len = len;
    }
}

void config_nearest_hint(const struct config_row *rows, const char *inner, const char *unknown, char *out,
                         size_t size)
{
    size_t len = 0;
    const char *best = nearest(rows, inner, unknown, &len);
    if (best != NULL)
        (void)snprintf(out, size, "did you mean \"%.*s\"?", (int)len, best);
    else
        list_known(rows, inner, out, size);
}
