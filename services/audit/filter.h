/* What of the log somebody wants to see. Lines are compared as text, without parsing them: members stand in a
 * known form (record.c), and a quotation mark inside a value is always escaped, so that no value can look
 * like a member. */
#ifndef TG_AUDIT_FILTER_H
#define TG_AUDIT_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/record.h"

enum { FILTER_MEMBERS = 5 };

struct filter {
    char *member[FILTER_MEMBERS]; /* such as "user":{"name":"alice" */
    size_t member_len[FILTER_MEMBERS];
    size_t members;
    char since[RECORD_TIME_LEN + 1]; /* "": any */
    char until[RECORD_TIME_LEN + 1]; /* not included */
};

/* INVALID_ARGUMENT: a filter is too long, or the event's name is none. filter_fini also after a failure. */
enum tg_code filter_init(struct filter *filter, const Tg__QueryRequest *request,
                         struct tg_error *err) TG_MUST_CHECK;
void filter_fini(struct filter *filter);

/* Any thread. */
bool filter_matches(const struct filter *filter, const char *line, size_t len);

#endif
