#include "tests/unit/audit/audit_fixture.h"

#include <jansson.h>

static struct secret *key;

static int make_key(void **state)
{
    (void)state;
    key = secret_new(RECORD_KEY_LEN);
    return key == NULL ? -1 : 0;
}

static int free_key(void **state)
{
    (void)state;
    secret_free(key);
    return 0;
}

/* The event as JSON, the way it will stand in the log. */
static json_t *encoded(const Tg__Event *event)
{
    char *body = NULL;
    size_t len = 0;
    struct tg_error err = {0};
    assert_int_equal(record_encode(event, key, &body, &len, &err), TG_OK);
    assert_int_equal(strlen(body), len);
    static const char head[] = "{\"metadata\":{\"sequence\":7,";
    char *line = malloc(len + sizeof head);
    assert_non_null(line);
    snprintf(line, len + sizeof head, "%s%s", head, body);
    json_error_t why;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    if (json == NULL)
        fail_msg("%s: %s", why.text, line);
    free(line);
    free(body);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void assert_refused(Tg__Event *event)
{
    char *body = NULL;
    size_t len = 0;
    struct tg_error err = {0};
    assert_int_equal(record_encode(event, key, &body, &len, &err), TG_INVALID_ARGUMENT);
    assert_null(body);
}

static void test_bad_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",        "Login",   "login accepted",
        "login\n", "log\"in", "a2345678901234567890123456789012345678901234567890123456789012345"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Tg__Event event = TG__EVENT__INIT;
        char name[128];
        snprintf(name, sizeof name, "%s", names[i]);
        event.event = name;
        assert_refused(&event);
    }
}

static void test_long_ticket_is_refused(void **state)
{
    (void)state;
    uint8_t ticket[RECORD_TICKET_MAX + 1] = {0};
    char name[] = "login.accepted";
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.ticket = (ProtobufCBinaryData){sizeof ticket, ticket};
    assert_refused(&event);
}

static void test_hostile_values_stay_values(void **state)
{
    (void)state;
    char name[] = "login.refused";
    char user[] = "eve\",\"user\":\"alice\n{\"seq\":1\033[2J\xff\xc2\x9b";
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.user = user;
    json_t *json = encoded(&event);
    assert_string_equal(text_of(json, "user"), "eve\",\"user\":\"alice\ufffd{\"seq\":1\ufffd[2J\ufffd\ufffd");
    json_decref(json);
}

static void test_long_values_are_cut_and_say_so(void **state)
{
    (void)state;
    char name[] = "login.refused";
    char reason[601];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.reason = reason;
    json_t *json = encoded(&event);
    const char *cut = text_of(json, "reason");
    assert_memory_equal(cut, reason, 512);
    assert_string_equal(cut + 512, "\u2026[+88 bytes]");
    json_decref(json);
}

static void test_ticket_is_hidden(void **state)
{
    (void)state;
    uint8_t ticket[] = "tgt-secret-ticket";
    char name[] = "login.accepted";
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.ticket = (ProtobufCBinaryData){sizeof ticket - 1, ticket};
    json_t *json = encoded(&event);
    /* printf tgt-secret-ticket | openssl dgst -sha256 -mac HMAC -macopt hexkey:00…00 */
    assert_string_equal(text_of(json, "ticket"),
                        "07e7068814dd873cf9a499713db409094b48ffe9b788710229679cd6e17679fa");
    json_decref(json);
}

static void test_whole_event(void **state)
{
    (void)state;
    char name[] = "stream.closed", user[] = "\xe5\xbc\xa0\xe4\xb8\x89", source[] = "192.0.2.7:40001";
    char target[] = "10.1.2.3:22";
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.time_us = UINT64_C(1795464851123456);
    event.user = user;
    event.source = source;
    event.target = target;
    event.bytes_in = 5;
    event.bytes_out = UINT64_MAX;
    char *body = NULL;
    size_t len = 0;
    assert_int_equal(record_encode(&event, key, &body, &len, NULL), TG_OK);
    assert_string_equal(body, "\"product\":{\"name\":\"TicketGate\"}},\"time\":\"2026-11-23T20:14:11."
                              "123456Z\",\"class_uid\":4001,\"event\":\"stream.closed\","
                              "\"outcome\":\"success\",\"user\":\"\xe5\xbc\xa0\xe4\xb8\x89\","
                              "\"source\":\"192.0.2.7:40001\",\"target\":\"10.1.2.3:22\",\"bytes_in\":5,"
                              "\"bytes_out\":9223372036854775807}");
    free(body);
}

static void test_times_have_one_length(void **state)
{
    (void)state;
    char text[RECORD_TIME_LEN + 1];
    record_time(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    record_time(UINT64_MAX, text);
    assert_int_equal(strlen(text), RECORD_TIME_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_names_are_refused),
        cmocka_unit_test(test_long_ticket_is_refused),
        cmocka_unit_test(test_hostile_values_stay_values),
        cmocka_unit_test(test_long_values_are_cut_and_say_so),
        cmocka_unit_test(test_ticket_is_hidden),
        cmocka_unit_test(test_whole_event),
        cmocka_unit_test(test_times_have_one_length),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
