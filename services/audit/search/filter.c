#include "services/audit/search/filter.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

enum { VALUE_MAX = 256 };

/* The value as a JSON string with its quotation marks, made harmless like the stored one. */
static char *quoted(const char *value)
{
    char clean[3 * VALUE_MAX + 1];
    utf8_clean(clean, sizeof clean, value, strlen(value), false);
    json_t *string = json_string(clean);
    char *text = string == NULL ? NULL : json_dumps(string, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(string);
    return text;
}

static enum tg_code add_member(struct filter *filter, enum term term, const char *value, struct tg_error *err)
{
    if (value[0] == '\0')
        return TG_OK;
    TG_ENSURE(strnlen(value, VALUE_MAX + 1) <= VALUE_MAX, err, TG_INVALID_ARGUMENT,
              "a filter is longer than %d bytes", VALUE_MAX);
    bool family = term == TERM_FAMILY; /* goes on where the quotation ends */
    char *text = quoted(value);
    int len = text == NULL
                  ? -1
                  : asprintf(&filter->member[term], "%s%s", term_prefix[family ? TERM_EVENT : term], text);
    free(text);
    TG_ENSURE(len > 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a filter");
    filter->member_len[term] = (size_t)len - family;
    return TG_OK;
}

static enum tg_code check_event(const char *event, struct tg_error *err)
{
    size_t len = strlen(event);
    TG_ENSURE(len <= RECORD_EVENT_MAX && strspn(event, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == len, err,
              TG_INVALID_ARGUMENT,
              "\"%.64s\" is not the name of an event, nor a beginning that ends in \".\"", event);
    return TG_OK;
}

/* As it stands in the log. */
static enum tg_code check_status(const char *status, struct tg_error *err)
{
    TG_ENSURE(status[0] == '\0' || strcmp(status, "Success") == 0 || strcmp(status, "Failure") == 0 ||
                  strcmp(status, "Unknown") == 0,
              err, TG_INVALID_ARGUMENT, "\"%.64s\" is no status: Success, Failure or Unknown", status);
    return TG_OK;
}

enum tg_code filter_init(struct filter *filter, const Tg__QueryRequest *request, struct tg_error *err)
{
    *filter = (struct filter){0};
    size_t event_len = strlen(request->event);
    bool family = event_len > 0 && request->event[event_len - 1] == '.';
    TG_TRY(check_event(request->event, err));
    TG_TRY(check_status(request->status, err));
    TG_TRY(add_member(filter, family ? TERM_FAMILY : TERM_EVENT, request->event, err));
    TG_TRY(add_member(filter, TERM_USER, request->user, err));
    TG_TRY(add_member(filter, TERM_ADDRESS, request->address, err));
    TG_TRY(add_member(filter, TERM_STATUS, request->status, err));
    TG_TRY(add_member(filter, TERM_TRACE, request->trace_id, err));
    TG_TRY(add_member(filter, TERM_SESSION, request->session_id, err));
    TG_TRY(add_member(filter, TERM_TICKET, request->ticket_hmac, err));
    if (request->since_us != 0)
        record_time(request->since_us, filter->since);
    if (request->until_us != 0)
        record_time(request->until_us, filter->until);
    return TG_OK;
}

void filter_fini(struct filter *filter)
{
    for (int term = 0; term < TERMS; term++)
        free(filter->member[term]);
    *filter = (struct filter){0};
}

void filter_probe(const struct filter *filter, const Tg__QueryRequest *request, struct index_probe *probe)
{
    struct term_value values[TERMS] = {{0}};
    for (int term = 0; term < TERMS; term++) {
        size_t prefix = strlen(term_prefix[term == TERM_FAMILY ? TERM_EVENT : term]);
        if (filter->member[term] != NULL)
            values[term] =
                (struct term_value){filter->member[term] + prefix, filter->member_len[term] - prefix};
    }
    /* The index knows an event by the part of its name up to the first full stop. */
    const struct term_value *family = &values[TERM_FAMILY];
    if (family->text != NULL && memchr(family->text, '.', family->len - 1) != NULL)
        values[TERM_FAMILY] = (struct term_value){0};
    probe->count = terms_hash(values, probe->hashes);
    probe->since_ms = request->since_us / 1000;
    probe->until_ms = request->until_us / 1000;
}

/* Times of one length and zone compare as texts. */
static bool time_matches(const struct filter *filter, const char *line, size_t len)
{
    static const char key[] = ",\"time_dt\":\"";
    if (filter->since[0] == '\0' && filter->until[0] == '\0')
        return true;
    const char *at = memmem(line, len, key, sizeof key - 1);
    if (at == NULL || (size_t)(line + len - at) < sizeof key - 1 + RECORD_TIME_LEN)
        return false;
    at += sizeof key - 1;
    return (filter->since[0] == '\0' || memcmp(at, filter->since, RECORD_TIME_LEN) >= 0) &&
           (filter->until[0] == '\0' || memcmp(at, filter->until, RECORD_TIME_LEN) < 0);
}

bool filter_matches(const struct filter *filter, const char *line, size_t len)
{
    for (int term = 0; term < TERMS; term++) {
        if (filter->member[term] != NULL &&
            memmem(line, len, filter->member[term], filter->member_len[term]) == NULL)
            return false;
    }
    return time_matches(filter, line, len);
}
