#include "services/audit/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/trace.h"
#include "common/utf8.h"

enum { TEXT_MAX = 1024, HMAC_LEN = 32 };

/* https://schema.ocsf.io: 3002 Authentication, 3003 Authorize Session, 3004 Entity Management, 4001 Network
 * Activity, 6002 Application Lifecycle. */
static const struct {
    const char *prefix;
    int class_uid;
} classes[] = {
    {"handshake.", 3002}, {"login.", 3002}, {"session.", 3003}, {"stream.", 4001},
    {"key.", 3004},       {"keys.", 3004},  {"ticket.", 3004},  {"qkud.", 3004},
    {"shield.", 3004},    {"kek.", 3004},   {"sae.", 3004},     {"", 6002},
};

static int class_of(const char *event)
{
    size_t i = 0;
    while (strncmp(event, classes[i].prefix, strlen(classes[i].prefix)) != 0)
        i++;
    return classes[i].class_uid;
}

static const char *outcome_of(Tg__Event__Outcome outcome)
{
    if (outcome == TG__EVENT__OUTCOME__SUCCESS)
        return "success";
    return outcome == TG__EVENT__OUTCOME__FAILURE ? "failure" : "unknown";
}

void record_time(uint64_t unix_us, char out[RECORD_TIME_LEN + 1])
{
    static const uint64_t last = UINT64_C(253402300799); /* the end of year 9999 */
    uint64_t seconds = unix_us / 1000000 < last ? unix_us / 1000000 : last;
    time_t when = (time_t)seconds;
    struct tm utc;
    char text[RECORD_TIME_LEN + 16];
    gmtime_r(&when, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + 19, sizeof text - 19, ".%06uZ", (unsigned)(unix_us % 1000000));
    memcpy(out, text, RECORD_TIME_LEN);
    out[RECORD_TIME_LEN] = '\0';
}

static bool name_is_good(const char *name)
{
    size_t len = strnlen(name, RECORD_EVENT_MAX + 1);
    return len > 0 && len <= RECORD_EVENT_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == len;
}

/* Adds a text of at most max bytes, unless it is empty. False: no memory. */
static bool put_text(json_t *record, const char *key, const char *text, size_t max)
{
    char clean[TEXT_MAX + 48];
    size_t len = strlen(text);
    if (len == 0)
        return true;
    size_t taken = utf8_clean(clean, max + 1, text, len, false);
    if (taken < len) {
        size_t used = strlen(clean);
        snprintf(clean + used, sizeof clean - used, "\u2026[+%zu bytes]", len - taken);
    }
    return json_object_set_new(record, key, json_string(clean)) == 0;
}

static bool put_number(json_t *record, const char *key, uint64_t number)
{
    json_int_t value = number > INT64_MAX ? INT64_MAX : (json_int_t)number;
    return number == 0 || json_object_set_new(record, key, json_integer(value)) == 0;
}

static bool put_ticket(json_t *record, const ProtobufCBinaryData *ticket, const struct secret *key)
{
    uint8_t mac[HMAC_LEN];
    char hex[2 * HMAC_LEN + 1];
    unsigned mac_len = sizeof mac;
    if (ticket->len == 0)
        return true;
    if (HMAC(EVP_sha256(), secret_view(key), (int)secret_len(key), ticket->data, ticket->len, mac,
             &mac_len) == NULL)
        return false;
    hex_encode(mac, sizeof mac, hex);
    return json_object_set_new(record, "ticket", json_string(hex)) == 0;
}

static bool put_head(json_t *record, const Tg__Event *event)
{
    char time_text[RECORD_TIME_LEN + 1];
    record_time(event->time_us != 0 ? event->time_us : clock_unix_us(), time_text);
    return json_object_set_new(record, "time", json_string(time_text)) == 0 &&
           json_object_set_new(record, "class_uid", json_integer(class_of(event->event))) == 0 &&
           json_object_set_new(record, "event", json_string(event->event)) == 0 &&
           json_object_set_new(record, "outcome", json_string(outcome_of(event->outcome))) == 0;
}

static bool put_all(json_t *record, const Tg__Event *event, const struct secret *ticket_key)
{
    return put_head(record, event) && put_text(record, "reason", event->reason, 512) &&
           put_text(record, "service", event->service, 32) &&
           put_text(record, "trace_id", event->trace_id, 32) && put_text(record, "user", event->user, 256) &&
           put_ticket(record, &event->ticket, ticket_key) && put_text(record, "source", event->source, 64) &&
           put_text(record, "qkud_id", event->qkud_id, 128) &&
           put_text(record, "shield_id", event->shield_id, 128) &&
           put_text(record, "session_id", event->session_id, 64) &&
           put_text(record, "target", event->target, 300) && put_text(record, "policy", event->policy, 128) &&
           put_number(record, "bytes_in", event->bytes_in) &&
           put_number(record, "bytes_out", event->bytes_out) && put_text(record, "peer", event->peer, 128) &&
           put_text(record, "detail", event->detail, TEXT_MAX);
}

enum tg_code record_encode(const Tg__Event *event, const struct secret *ticket_key, char **body, size_t *len,
                           struct tg_error *err)
{
    TG_ENSURE(name_is_good(event->event), err, TG_INVALID_ARGUMENT,
              "an audit event needs a name of 1 to %d characters of [a-z0-9_.-]", RECORD_EVENT_MAX);
    TG_ENSURE(event->ticket.len <= RECORD_TICKET_MAX, err, TG_INVALID_ARGUMENT,
              "%s: a ticket has at most %d bytes, not %zu", event->event, RECORD_TICKET_MAX,
              event->ticket.len);
    json_t *record = json_object();
    char *text = NULL;
    if (record != NULL && put_all(record, event, ticket_key))
        text = json_dumps(record, JSON_COMPACT);
    json_decref(record);
    TG_ENSURE(text != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for an audit event");
    int made = asprintf(body, "\"product\":{\"name\":\"TicketGate\"}},%s", text + 1);
    free(text);
    TG_ENSURE(made > 0, err, TG_RESOURCE_EXHAUSTED, "no memory for an audit event");
    *len = (size_t)made;
    return TG_OK;
}
