/* What of a line can be searched for: members with a known beginning (record.c). Lines are compared as text,
 * without parsing them: a quotation mark inside a value is always escaped, so that no value can look like a
 * member. */
#ifndef TG_AUDIT_TERMS_H
#define TG_AUDIT_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum term {
    TERM_EVENT,
    TERM_USER,
    TERM_ADDRESS, /* of the client */
    TERM_STATUS,
    TERM_TRACE,
    TERM_SESSION,
    TERM_TICKET,
    TERM_FAMILY, /* an event's name up to its full stop: not a member of its own */
    TERMS
};

/* What stands before the value, such as ,"event_code": (NULL: TERM_FAMILY). */
extern const char *const term_prefix[TERMS];

/* A value as it stands in a line, with its quotation marks; a family without the second. */
struct term_value {
    const char *text; /* borrowed; NULL: there is none */
    size_t len;
};
/* Finds all of a line's. */
void terms_find(const char *line, size_t len, struct term_value values[TERMS]);

/* Milliseconds since 1970; 0: the line names none. */
uint64_t terms_time(const char *line, size_t len);

/* Numbers under which a line with these values is filed, each alone and some in pairs, so that a search for
 * both does not look at all lines that have one of them. The same for a line and for what is looked for in
 * it. */
enum { TERM_HASHES_MAX = TERMS + TERMS * (TERMS - 1) / 2 };
size_t terms_hash(const struct term_value values[TERMS], uint64_t hashes[TERM_HASHES_MAX]);

#endif
