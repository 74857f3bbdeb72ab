#include "services/audit/search/terms.h"

#include <string.h>

const char *const term_prefix[TERMS] = {
    [TERM_EVENT] = ",\"event_code\":",
    [TERM_USER] = "\"user\":{\"name\":",
    [TERM_ADDRESS] = ",\"src_endpoint\":{\"ip\":",
    [TERM_STATUS] = ",\"status\":",
    [TERM_TRACE] = ",\"correlation_uid\":",
    [TERM_SESSION] = "\"session\":{\"uid\":",
    [TERM_TICKET] = "\"ticket_hmac\":",
};

/* These are searched for together; the others name one connection or ticket each. */
static const bool paired[TERMS] = {[TERM_EVENT] = true,
                                   [TERM_USER] = true,
                                   [TERM_ADDRESS] = true,
                                   [TERM_STATUS] = true,
                                   [TERM_FAMILY] = true};

/* A string from its first quotation mark to its last; 0: `at` is none. */
static size_t string_len(const char *at, const char *end)
{
    const char *start = at;
    if (at == end || *at != '"')
        return 0;
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? (size_t)(at + 1 - start) : 0;
}

static struct term_value find(const char *line, size_t len, const char *prefix)
{
    size_t prefix_len = strlen(prefix);
    const char *at = memmem(line, len, prefix, prefix_len);
    if (at == NULL)
        return (struct term_value){0};
    at += prefix_len;
    size_t value_len = string_len(at, line + len);
    return value_len > 0 ? (struct term_value){at, value_len} : (struct term_value){0};
}

void terms_find(const char *line, size_t len, struct term_value values[TERMS])
{
    for (int term = 0; term < TERM_FAMILY; term++)
        values[term] = find(line, len, term_prefix[term]);
    values[TERM_FAMILY] = (struct term_value){0};
    const struct term_value *event = &values[TERM_EVENT];
    const char *stop = event->text != NULL ? memchr(event->text, '.', event->len) : NULL;
    if (stop != NULL)
        values[TERM_FAMILY] = (struct term_value){event->text, (size_t)(stop + 1 - event->text)};
}

uint64_t terms_time(const char *line, size_t len)
{
    static const char prefix[] = ",\"time\":";
    const char *at = memmem(line, len, prefix, sizeof prefix - 1);
    uint64_t ms = 0;
    if (at != NULL)
        for (at += sizeof prefix - 1; at < line + len && *at >= '0' && *at <= '9'; at++)
            ms = ms * 10 + (uint64_t)(*at - '0');
    return ms;
}

/* FNV-1a, and the last step of SplitMix64, which spreads it over all bits. Nothing secret hangs on it: who
 * makes values collide makes a search slower, not wrong. */
static uint64_t hash_value(int term, const struct term_value *value)
{
    uint64_t hash = 14695981039346656037U ^ (uint64_t)term;
    for (size_t i = 0; i < value->len; i++)
        hash = (hash ^ (uint8_t)value->text[i]) * 1099511628211U;
    return hash;
}

static uint64_t spread(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 31);
}

size_t terms_hash(const struct term_value values[TERMS], uint64_t hashes[TERM_HASHES_MAX])
{
    uint64_t alone[TERMS] = {0};
    size_t count = 0;
    for (int term = 0; term < TERMS; term++) {
        if (values[term].text == NULL)
            continue;
        alone[term] = hash_value(term, &values[term]);
        hashes[count++] = spread(alone[term]);
        for (int other = 0; other < term; other++)
            if (paired[term] && paired[other] && values[other].text != NULL)
                hashes[count++] = spread(alone[term] * 31 + alone[other]);
    }
    return count;
}
