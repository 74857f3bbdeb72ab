#include "services/radius-bridge/attributes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/secret.h"
#include "common/utf8.h"

enum { ATTRIBUTES = 255, DEFINITION_MAX = 40, PROMPT_ECHO = 1 /* RFC 2869 5.10 */ };

/* Those that are not octets; everything else may be taken as such. */
static const char *type_of(int attribute)
{
    switch (attribute) {
    case PW_NAS_IP_ADDRESS:
        return "ipv4addr";
    case PW_NAS_IPV6_ADDRESS:
        return "ipv6addr";
    case PW_SERVICE_TYPE:
    case PW_SESSION_TIMEOUT:
    case PW_IDLE_TIMEOUT:
    case PW_PROMPT:
        return "integer";
    default:
        return "string";
    }
}

bool attributes_define(rc_handle *handle)
{
    char text[ATTRIBUTES * DEFINITION_MAX];
    size_t used = 0;
    for (int i = 1; i <= ATTRIBUTES; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "ATTRIBUTE Attribute-%d %d %s\n", i, i,
                                 type_of(i));
    return rc_read_dictionary_from_buffer(handle, text, used) == 0;
}

static bool put_bytes(rc_handle *handle, VALUE_PAIR **pairs, int attribute, const void *bytes, size_t len)
{
    return len == 0 || rc_avpair_add(handle, pairs, attribute, bytes, (int)len, VENDOR_NONE) != NULL;
}

static bool put_text(rc_handle *handle, VALUE_PAIR **pairs, int attribute, const char *text)
{
    return put_bytes(handle, pairs, attribute, text, strlen(text));
}

/* An empty password travels as 16 zero bytes, like one of a single zero byte (RFC 2865 5.2); radcli would
 * send an attribute without a value, which servers refuse. */
static bool put_password(rc_handle *handle, VALUE_PAIR **pairs, const ProtobufCBinaryData *password)
{
    static const uint8_t zero = 0;
    return password->len > 0 ? put_bytes(handle, pairs, PW_USER_PASSWORD, password->data, password->len)
                             : put_bytes(handle, pairs, PW_USER_PASSWORD, &zero, 1);
}

bool attributes_put(rc_handle *handle, const Tg__LoginRequest *request, const struct in6_addr *own_ipv6,
                    VALUE_PAIR **pairs)
{
    uint32_t service_type = PW_LOGIN;
    return put_text(handle, pairs, PW_USER_NAME, request->user) &&
           put_password(handle, pairs, &request->password) &&
           rc_avpair_add(handle, pairs, PW_SERVICE_TYPE, &service_type, 0, VENDOR_NONE) != NULL &&
           put_text(handle, pairs, PW_NAS_IDENTIFIER, request->nas_identifier) &&
           put_text(handle, pairs, PW_CALLING_STATION_ID, request->calling_station) &&
           put_text(handle, pairs, PW_ACCT_SESSION_ID, request->session_id) &&
           put_bytes(handle, pairs, PW_STATE, request->state.data, request->state.len) &&
           (own_ipv6 == NULL || put_bytes(handle, pairs, PW_NAS_IPV6_ADDRESS, own_ipv6, sizeof *own_ipv6));
}

void attributes_wipe(VALUE_PAIR *pairs)
{
    for (VALUE_PAIR *at = pairs; at != NULL; at = rc_avpair_next(at)) {
        if (at->attribute == PW_USER_PASSWORD)
            secret_wipe(at->strvalue, sizeof at->strvalue);
    }
}

static size_t get_bytes(VALUE_PAIR *pairs, int attribute, uint8_t *out)
{
    const VALUE_PAIR *found = rc_avpair_get(pairs, attribute, VENDOR_NONE);
    if (found == NULL || found->lvalue > RADIUS_VALUE_MAX)
        return 0;
    memcpy(out, found->strvalue, found->lvalue);
    return found->lvalue;
}

static uint32_t get_number(VALUE_PAIR *pairs, int attribute)
{
    const VALUE_PAIR *found = rc_avpair_get(pairs, attribute, VENDOR_NONE);
    return found == NULL ? 0 : found->lvalue;
}

/* All Reply-Messages, one line each. */
static void get_messages(VALUE_PAIR *pairs, struct radius_answer *answer)
{
    char *out = answer->reply_message;
    size_t room = sizeof answer->reply_message;
    for (VALUE_PAIR *at = rc_avpair_get(pairs, PW_REPLY_MESSAGE, VENDOR_NONE); at != NULL && room > 2;
         at = rc_avpair_get(rc_avpair_next(at), PW_REPLY_MESSAGE, VENDOR_NONE)) {
        if (out != answer->reply_message) {
            *out++ = '\n';
            room--;
        }
        utf8_clean(out, room, at->strvalue, at->lvalue, true);
        size_t used = strlen(out);
        out += used;
        room -= used;
    }
}

void attributes_get(VALUE_PAIR *pairs, struct radius_answer *answer)
{
    get_messages(pairs, answer);
    if (answer->outcome == TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE) {
        answer->state_len = get_bytes(pairs, PW_STATE, answer->state);
        answer->echo = get_number(pairs, PW_PROMPT) == PROMPT_ECHO;
    }
    if (answer->outcome != TG__LOGIN_RESPONSE__OUTCOME__ACCEPT)
        return;
    uint8_t filter[RADIUS_VALUE_MAX];
    size_t filter_len = get_bytes(pairs, PW_FILTER_ID, filter);
    utf8_clean(answer->filter_id, sizeof answer->filter_id, (const char *)filter, filter_len, false);
    answer->session_timeout_s = get_number(pairs, PW_SESSION_TIMEOUT);
    answer->idle_timeout_s = get_number(pairs, PW_IDLE_TIMEOUT);
    answer->klass_len = get_bytes(pairs, PW_CLASS, answer->klass);
}

static enum tg_code check_text(const char *what, const char *text, struct tg_error *err)
{
    TG_ENSURE(strnlen(text, RADIUS_VALUE_MAX + 1) <= RADIUS_VALUE_MAX, err, TG_INVALID_ARGUMENT,
              "%s is longer than %d bytes", what, RADIUS_VALUE_MAX);
    return TG_OK;
}

enum tg_code radius_request_check(const Tg__LoginRequest *request, struct tg_error *err)
{
    const ProtobufCBinaryData *password = &request->password;
    TG_ENSURE(request->user[0] != '\0', err, TG_INVALID_ARGUMENT, "the user's name is missing");
    TG_TRY(name_check_text("user", request->user, err));
    TG_ENSURE(password->len <= RADIUS_PASSWORD_MAX, err, TG_INVALID_ARGUMENT,
              "RADIUS passwords have at most %d bytes here", RADIUS_PASSWORD_MAX);
    TG_ENSURE(password->len == 0 || memchr(password->data, 0, password->len) == NULL, err,
              TG_INVALID_ARGUMENT, "RADIUS passwords cannot hold a zero byte");
    TG_ENSURE(request->state.len <= RADIUS_VALUE_MAX, err, TG_INVALID_ARGUMENT,
              "state is longer than %d bytes", RADIUS_VALUE_MAX);
    TG_ENSURE(request->state.len == 0 || request->server[0] != '\0', err, TG_INVALID_ARGUMENT,
              "state without the server that gave it");
    TG_TRY(check_text("server", request->server, err));
    TG_TRY(check_text("calling_station", request->calling_station, err));
    TG_TRY(check_text("session_id", request->session_id, err));
    return check_text("nas_identifier", request->nas_identifier, err);
}
