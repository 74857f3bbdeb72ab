#include "services/audit/record.h"

#include <arpa/inet.h>
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
#include "services/audit/ocsf.h"

enum { TEXT_MAX = 1024, ENDPOINT_MAX = 300 };

/* What is being written. Whatever goes wrong on the way is memory; it is looked at once, at the end. */
struct line {
    const Tg__Event *event;
    const struct ocsf_kind *kind;
    const struct secret *key;
    bool cut; /* a value was longer than its member may be */
    bool failed;
};

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

/* ---- members ---- */

static void put(struct line *line, json_t *object, const char *key, json_t *value)
{
    line->failed |= json_object_set_new(object, key, value) != 0;
}

/* A member object; left out when it has no members. */
static void put_object(struct line *line, json_t *object, const char *key, json_t *value)
{
    if (json_object_size(value) > 0)
        put(line, object, key, value);
    else
        json_decref(value);
}

/* A text of at most max bytes, unless it is empty. */
static void put_text(struct line *line, json_t *object, const char *key, const char *text, size_t max)
{
    char clean[TEXT_MAX + 48];
    size_t len = strlen(text);
    if (len == 0)
        return;
    size_t taken = utf8_clean(clean, max + 1, text, len, false);
    if (taken < len) {
        size_t used = strlen(clean);
        snprintf(clean + used, sizeof clean - used, "\u2026[+%zu bytes]", len - taken);
        line->cut = true;
    }
    put(line, object, key, json_string(clean));
}

static void put_number(struct line *line, json_t *object, const char *key, uint64_t number)
{
    put(line, object, key, json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

static void put_hmac(struct line *line, json_t *object, const char *key, const ProtobufCBinaryData *value)
{
    char hex[RECORD_HMAC_HEX_LEN + 1];
    if (value->len == 0)
        return;
    if (record_hmac(line->key, value->data, value->len, hex))
        put(line, object, key, json_string(hex));
    else
        line->failed = true;
}

/* "192.0.2.7:40001", "[2001:db8::1]:443", "db.bank.example:5432"; what is none of these stays one name. */
static void put_endpoint(struct line *line, json_t *object, const char *key, const char *text)
{
    char host[ENDPOINT_MAX + 1];
    uint8_t address[16];
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    json_t *endpoint = json_object();
    bool has_port = len > 0 && len <= ENDPOINT_MAX && colon[1] != '\0' &&
                    strspn(colon + 1, "0123456789") == strlen(colon + 1) && strlen(colon + 1) <= 5;
    if (has_port) {
        size_t bracket = text[0] == '[' && text[len - 1] == ']' && len > 2 ? 1 : 0;
        snprintf(host, sizeof host, "%.*s", (int)(len - 2 * bracket), text + bracket);
        bool is_ip = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
        put_text(line, endpoint, is_ip ? "ip" : "hostname", host, ENDPOINT_MAX);
        put_number(line, endpoint, "port", strtoul(colon + 1, NULL, 10));
    } else {
        put_text(line, endpoint, "name", text, ENDPOINT_MAX);
    }
    put_object(line, object, key, endpoint);
}

/* ---- the parts of a line ---- */

static void put_classification(struct line *line, json_t *object)
{
    static const char *const statuses[] = {"Unknown", "Success", "Failure"};
    const struct ocsf_kind *kind = line->kind;
    unsigned outcome = (unsigned)line->event->outcome;
    unsigned status = outcome <= TG__EVENT__OUTCOME__FAILURE ? outcome : 0;
    enum ocsf_severity severity = kind->severity;
    if (status == TG__EVENT__OUTCOME__FAILURE && severity == OCSF_INFORMATIONAL)
        severity = OCSF_MEDIUM;
    put_number(line, object, "category_uid", kind->class_uid / 1000);
    put_number(line, object, "class_uid", kind->class_uid);
    put_number(line, object, "type_uid", (uint64_t)kind->class_uid * 100 + (uint64_t)kind->activity_id);
    put_number(line, object, "activity_id", (uint64_t)kind->activity_id);
    if (kind->activity != NULL)
        put(line, object, "activity_name", json_string(kind->activity));
    put_number(line, object, "severity_id", severity);
    put(line, object, "severity", json_string(ocsf_severity_names[severity]));
    put_number(line, object, "status_id", status);
    put(line, object, "status", json_string(statuses[status]));
}

/* Authentication has user and session of its own, and needs a user; elsewhere they are the actor's. */
static void put_who(struct line *line, json_t *object)
{
    const Tg__Event *event = line->event;
    bool is_login = line->kind->class_uid == OCSF_AUTHENTICATION;
    json_t *user = json_object(), *session = json_object(), *actor = json_object();
    json_t *where = is_login ? object : actor;
    put_text(line, user, "name", event->user, 256);
    if (is_login && event->user[0] == '\0')
        put(line, user, "name", json_string(""));
    if (json_object_size(user) > 0)
        put_number(line, user, "type_id", event->user[0] != '\0'); /* 1 User, 0 Unknown */
    put_text(line, session, "uid", event->session_id, 64);
    put_object(line, where, "user", user);
    put_object(line, where, "session", session);
    put_object(line, object, "actor", actor);
}

static void put_where(struct line *line, json_t *object)
{
    const Tg__Event *event = line->event;
    json_t *gateway = json_object();
    put_endpoint(line, object, "src_endpoint", event->source);
    if (line->kind->class_uid == OCSF_AUTHENTICATION)
        put_text(line, gateway, "name", event->qkud_id, 128);
    put_object(line, object, "dst_endpoint", gateway);
    if (line->kind->class_uid == OCSF_NETWORK_ACTIVITY)
        put_endpoint(line, object, "dst_endpoint", event->target);
}

/* What the event's class is about. */
static void put_subject(struct line *line, json_t *object)
{
    const Tg__Event *event = line->event;
    enum ocsf_class class_uid = line->kind->class_uid;
    json_t *subject = json_object();
    const char *name = event->peer[0] != '\0' ? event->peer : event->service;
    char family[RECORD_EVENT_MAX + 1];
    snprintf(family, sizeof family, "%.*s", (int)strcspn(event->event, "."), event->event);
    if (class_uid == OCSF_ENTITY_MANAGEMENT) {
        put_text(line, subject, "name", strcmp(family, "qkud") == 0 ? event->qkud_id : event->shield_id, 128);
        put_text(line, subject, "type", family, RECORD_EVENT_MAX);
        put_object(line, object, "entity", subject);
    } else if (class_uid == OCSF_APPLICATION_LIFECYCLE) {
        put_text(line, subject, "name", name[0] != '\0' ? name : family, 128);
        put_object(line, object, "app", subject);
    } else if (class_uid == OCSF_NETWORK_ACTIVITY && event->bytes_in + event->bytes_out > 0) {
        /* Seen from the source, the client: in is what comes to it. */
        put_number(line, subject, "bytes_in", event->bytes_out);
        put_number(line, subject, "bytes_out", event->bytes_in);
        put_object(line, object, "traffic", subject);
    } else {
        json_decref(subject);
    }
}

/* Facts that OCSF has no member for. */
static void put_unmapped(struct line *line, json_t *object)
{
    const Tg__Event *event = line->event;
    json_t *unmapped = json_object();
    put_hmac(line, unmapped, "ticket_hmac", &event->ticket);
    put_hmac(line, unmapped, "client_random_hmac", &event->client_random);
    put_hmac(line, unmapped, "class_hmac", &event->radius_class);
    put_text(line, unmapped, "qkud_id", event->qkud_id, 128);
    put_text(line, unmapped, "shield_id", event->shield_id, 128);
    put_text(line, unmapped, "policy", event->policy, 128);
    put_text(line, unmapped, "peer", event->peer, 128);
    if (line->kind->class_uid == OCSF_AUTHENTICATION && event->bytes_in + event->bytes_out > 0) {
        put_number(line, unmapped, "bytes_from_client", event->bytes_in);
        put_number(line, unmapped, "bytes_to_client", event->bytes_out);
    }
    put_object(line, object, "unmapped", unmapped);
}

static void put_time(struct line *line, json_t *object)
{
    char text[RECORD_TIME_LEN + 1];
    uint64_t time_us = line->event->time_us != 0 ? line->event->time_us : clock_unix_us();
    record_time(time_us, text);
    put_number(line, object, "time", time_us / 1000);
    put(line, object, "time_dt", json_string(text));
}

static json_t *rest_of(struct line *line)
{
    json_t *object = json_object();
    put_time(line, object);
    put_classification(line, object);
    put_text(line, object, "status_detail", line->event->reason, 512);
    put_text(line, object, "message", line->event->detail, TEXT_MAX);
    put_who(line, object);
    put_where(line, object);
    put_subject(line, object);
    put_unmapped(line, object);
    return object;
}

/* Last, since it says whether anything was cut. The log has put the sequence before it. */
static json_t *metadata_of(struct line *line)
{
    const Tg__Event *event = line->event;
    char id[2 * REQUEST_ID_LEN + 1];
    json_t *object = json_object(), *product = json_object(), *feature = json_object();
    json_t *profiles = json_array();
    put(line, object, "version", json_string(OCSF_VERSION));
    put_text(line, object, "event_code", event->event, RECORD_EVENT_MAX);
    if (event->id.len == REQUEST_ID_LEN) {
        hex_encode(event->id.data, REQUEST_ID_LEN, id);
        put(line, object, "uid", json_string(id));
    }
    put_text(line, object, "correlation_uid", event->trace_id, 32);
    put_text(line, feature, "name", event->service, 32);
    put(line, product, "name", json_string("TicketGate"));
    put(line, product, "vendor_name", json_string("TicketGate"));
    put_object(line, product, "feature", feature);
    put(line, object, "product", product);
    line->failed |= json_array_append_new(profiles, json_string("datetime")) != 0;
    if (line->kind->class_uid / 1000 != 3) /* of which the actor is a member elsewhere */
        line->failed |= json_array_append_new(profiles, json_string("host")) != 0;
    put(line, object, "profiles", profiles);
    if (line->cut)
        put(line, object, "is_truncated", json_true());
    return object;
}

/* ---- the whole ---- */

bool record_hmac(const struct secret *key, const void *value, size_t len, char hex[RECORD_HMAC_HEX_LEN + 1])
{
    uint8_t mac[RECORD_HMAC_HEX_LEN / 2];
    unsigned mac_len = sizeof mac;
    if (HMAC(EVP_sha256(), secret_view(key), (int)secret_len(key), value, len, mac, &mac_len) == NULL)
        return false;
    hex_encode(mac, sizeof mac, hex);
    return true;
}

static char *encode(struct line *line)
{
    json_t *rest = rest_of(line), *metadata = metadata_of(line);
    char *rest_text = json_dumps(rest, JSON_COMPACT), *metadata_text = json_dumps(metadata, JSON_COMPACT);
    char *body = NULL;
    if (!line->failed && rest_text != NULL && metadata_text != NULL &&
        asprintf(&body, "%s,%s", metadata_text + 1, rest_text + 1) < 0)
        body = NULL;
    free(rest_text);
    free(metadata_text);
    json_decref(rest);
    json_decref(metadata);
    return body;
}

static enum tg_code check(const Tg__Event *event, struct tg_error *err)
{
    const size_t lens[] = {event->ticket.len, event->client_random.len, event->radius_class.len};
    TG_ENSURE(name_is_good(event->event), err, TG_INVALID_ARGUMENT,
              "an audit event needs a name of 1 to %d characters of [a-z0-9_.-]", RECORD_EVENT_MAX);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
        TG_ENSURE(lens[i] <= RECORD_HIDDEN_MAX, err, TG_INVALID_ARGUMENT,
                  "%s: a ticket, client random or Class has at most %d bytes, not %zu", event->event,
                  RECORD_HIDDEN_MAX, lens[i]);
    return TG_OK;
}

enum tg_code record_encode(const Tg__Event *event, const struct secret *ticket_key, char **body, size_t *len,
                           struct tg_error *err)
{
    TG_TRY(check(event, err));
    struct line line = {.event = event, .kind = ocsf_kind_of(event->event), .key = ticket_key};
    char *made = encode(&line);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for an audit event");
    *len = strlen(made);
    TG_INVARIANT(*len <= RECORD_BODY_MAX); /* every member is bounded */
    *body = made;
    return TG_OK;
}
