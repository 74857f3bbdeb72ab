/* What is counted, as Prometheus reads it (text exposition format 0.0.4). Whoever counts keeps its own
 * atomics and writes them out when asked: there is no registry to wire things into. */
#ifndef TG_COMMON_METRICS_METRICS_H
#define TG_COMMON_METRICS_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metrics; /* one answer, while it is written */

/* A new, empty text; NULL: out of memory. */
struct metrics *metrics_new(void);
/* Ends it: the text, *len bytes, for the caller to free(); NULL: memory was out. */
char *metrics_finish(struct metrics *metrics, size_t *len);

/* Begins a family; its values follow. Names are ours, and constant: [a-z_]+, with a unit, and a counter's
 * ends in _total. */
void metrics_family(struct metrics *metrics, enum metric_type type, const char *name, const char *help);
/* A value of that family, with up to 4 pairs of a label's name and value, ended by NULL. Label values may be
 * anything: they are escaped. */
void metrics_value(struct metrics *metrics, uint64_t value, ...) __attribute__((sentinel));
/* A family of one value without labels. */
void metrics_one(struct metrics *metrics, enum metric_type type, const char *name, const char *help,
                 uint64_t value);

#endif
