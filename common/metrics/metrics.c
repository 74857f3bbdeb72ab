#include "common/metrics/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LABELS_MAX = 4 };

struct metrics {
    FILE *out;
    char *text;
    size_t len;
    const char *name; /* of the family */
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    metrics->out = open_memstream(&metrics->text, &metrics->len);
    if (metrics->out != NULL)
        return metrics;
    free(metrics);
    return NULL;
}

char *metrics_finish(struct metrics *metrics, size_t *len)
{
    int failed = ferror(metrics->out);
    if (fclose(metrics->out) != 0 || failed) {
        free(metrics->text);
        metrics->text = NULL;
    }
    char *text = metrics->text;
    *len = metrics->len;
    free(metrics);
    return text;
}

void metrics_family(struct metrics *metrics, enum metric_type type, const char *name, const char *help)
{
    metrics->name = name;
    fprintf(metrics->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
            type == METRIC_COUNTER ? "counter" : "gauge");
}

/* Within quotes: \, " and line feed are escaped. */
static void put_label_value(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '\\' || *value == '"')
            fprintf(out, "\\%c", *value);
        else
            fputc(*value, out);
    }
}

void metrics_value(struct metrics *metrics, uint64_t value, ...)
{
    va_list labels;
    int count = 0;
    fputs(metrics->name, metrics->out);
    va_start(labels, value);
    for (const char *name = va_arg(labels, const char *); name != NULL; name = va_arg(labels, const char *)) {
        TG_INVARIANT(count < LABELS_MAX);
        fprintf(metrics->out, "%s%s=\"", count++ == 0 ? "{" : ",", name);
        put_label_value(metrics->out, va_arg(labels, const char *));
        fputc('"', metrics->out);
    }
    va_end(labels);
    fprintf(metrics->out, "%s %" PRIu64 "\n", count > 0 ? "}" : "", value);
}

void metrics_one(struct metrics *metrics, enum metric_type type, const char *name, const char *help,
                 uint64_t value)
{
    metrics_family(metrics, type, name, help);
    metrics_value(metrics, value, NULL);
}
