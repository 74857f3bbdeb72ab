#include "tools/tgctl/export/syslog.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FACILITY_LOG_AUDIT = 13, MSGID_MAX = 32, APP_NAME_MAX = 48 };

/* OCSF severity_id (0 Unknown to 6 Fatal) to RFC 5424's severity. */
static unsigned severity_of(const json_t *line)
{
    static const unsigned severities[] = {6, 6, 5, 4, 3, 2, 1};
    json_int_t id = json_integer_value(json_object_get(line, "severity_id"));
    return id >= 0 && id < (json_int_t)(sizeof severities / sizeof severities[0]) ? severities[id] : 6;
}

/* A header field: printable ASCII without spaces; "-" for none. */
static const char *field(const json_t *value, char *out, size_t max)
{
    const char *text = json_string_value(value);
    size_t len = 0;
    for (; text != NULL && text[len] != '\0' && len < max; len++)
        out[len] = (char)(text[len] > ' ' && text[len] < 0x7f ? text[len] : '?');
    out[len] = '\0';
    return len > 0 ? out : "-";
}

enum tg_code syslog_message(const char *line, const char *host, char **message, size_t *len,
                            struct tg_error *err)
{
    json_t *event = json_loads(line, 0, NULL);
    const json_t *metadata = json_object_get(event, "metadata");
    const json_t *feature = json_object_get(json_object_get(metadata, "product"), "feature");
    char time[APP_NAME_MAX + 1], app[APP_NAME_MAX - 3 + 1], id[MSGID_MAX + 1];
    int count = -1;
    if (metadata != NULL)
        count = asprintf(message, "<%u>1 %s %s tg-%s - %s - \xef\xbb\xbf%s", /* the mark says: UTF-8 */
                         FACILITY_LOG_AUDIT * 8 + severity_of(event),
                         field(json_object_get(event, "time_dt"), time, sizeof time - 1), host,
                         field(json_object_get(feature, "name"), app, sizeof app - 1),
                         field(json_object_get(metadata, "event_code"), id, sizeof id - 1), line);
    bool is_event = metadata != NULL;
    json_decref(event);
    TG_ENSURE(is_event, err, TG_DATA_LOSS, "a line of the log is no event: tgctl audit verify");
    TG_ENSURE(count > 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a message");
    *len = (size_t)count;
    return TG_OK;
}
