#include "services/audit/filter.h"

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

/* `before`: what stands before the value in every line that has it. */
static enum tg_code add_member(struct filter *filter, const char *before, const char *value, bool prefix,
                               struct tg_error *err)
{
    if (value[0] == '\0')
        return TG_OK;
    TG_ENSURE(strnlen(value, VALUE_MAX + 1) <= VALUE_MAX, err, TG_INVALID_ARGUMENT,
              "a filter is longer than %d bytes", VALUE_MAX);
    char *member = NULL;
    char *text = quoted(value);
    int len = text == NULL ? -1 : asprintf(&member, "%s%s", before, text);
    free(text);
    TG_ENSURE(len > 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a filter");
    filter->member[filter->members] = member;
    filter->member_len[filter->members++] =
        (size_t)len - prefix; /* a prefix goes on where the quotation ends */
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

enum tg_code filter_init(struct filter *filter, const Tg__QueryRequest *request, struct tg_error *err)
{
    *filter = (struct filter){0};
    size_t event_len = strlen(request->event);
    bool prefix = event_len > 0 && request->event[event_len - 1] == '.';
    TG_TRY(check_event(request->event, err));
    TG_TRY(add_member(filter, ",\"event_code\":", request->event, prefix, err));
    TG_TRY(add_member(filter, "\"user\":{\"name\":", request->user, false, err));
    TG_TRY(add_member(filter, ",\"correlation_uid\":", request->trace_id, false, err));
    TG_TRY(add_member(filter, "\"session\":{\"uid\":", request->session_id, false, err));
    TG_TRY(add_member(filter, "\"ticket_hmac\":", request->ticket_hmac, false, err));
    if (request->since_us != 0)
        record_time(request->since_us, filter->since);
    if (request->until_us != 0)
        record_time(request->until_us, filter->until);
    return TG_OK;
}

void filter_fini(struct filter *filter)
{
    for (size_t i = 0; i < filter->members; i++)
        free(filter->member[i]);
    *filter = (struct filter){0};
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
    for (size_t i = 0; i < filter->members; i++) {
        if (memmem(line, len, filter->member[i], filter->member_len[i]) == NULL)
            return false;
    }
    return time_matches(filter, line, len);
}
