/* What of the log somebody wants to see. Lines are compared as text (terms.h). */
#ifndef TG_AUDIT_FILTER_H
#define TG_AUDIT_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/record.h"
#include "services/audit/search/index.h"
#include "services/audit/search/terms.h"

struct filter {
    char *member[TERMS]; /* such as "user":{"name":"alice"; NULL: any */
    size_t member_len[TERMS];
    char since[RECORD_TIME_LEN + 1]; /* "": any */
    char until[RECORD_TIME_LEN + 1]; /* not included */
};

/* INVALID_ARGUMENT: a filter is too long, or the event's name is none, or the status. filter_fini also after
 * a failure. */
enum tg_code filter_init(struct filter *filter, const Tg__QueryRequest *request,
                         struct tg_error *err) TG_MUST_CHECK;
void filter_fini(struct filter *filter);

/* Any thread. */
bool filter_matches(const struct filter *filter, const char *line, size_t len);
/* The same for the index. */
void filter_probe(const struct filter *filter, const Tg__QueryRequest *request, struct index_probe *probe);

#endif
