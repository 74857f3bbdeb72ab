#include "tests/unit/audit/audit_fixture.h"

#include <jansson.h>

#include "common/trace.h"

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

static const json_t *member(const json_t *json, const char *path)
{
    char name[32];
    while (json != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        json = json_object_get(json, name);
        path += path[len] == '.' ? len + 1 : len;
    }
    return json;
}

static const char *text_of(const json_t *json, const char *path)
{
    return json_string_value(member(json, path));
}

static json_int_t number_of(const json_t *json, const char *path)
{
    const json_t *value = member(json, path);
    return json_is_integer(value) ? json_integer_value(value) : -1;
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
    uint8_t ticket[RECORD_HIDDEN_MAX + 1] = {0};
    char name[] = "login.accepted";
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.ticket = (ProtobufCBinaryData){sizeof ticket, ticket};
    assert_refused(&event);
    event.ticket.len = 0;
    event.client_random = (ProtobufCBinaryData){sizeof ticket, ticket};
    assert_refused(&event);
    event.client_random.len = 0;
    event.radius_class = (ProtobufCBinaryData){sizeof ticket, ticket};
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
    assert_string_equal(text_of(json, "user.name"),
                        "eve\",\"user\":\"alice\ufffd{\"seq\":1\ufffd[2J\ufffd\ufffd");
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
    const char *cut = text_of(json, "status_detail");
    assert_memory_equal(cut, reason, 512);
    assert_string_equal(cut + 512, "\u2026[+88 bytes]");
    assert_true(json_is_true(member(json, "metadata.is_truncated")));
    json_decref(json);
    reason[512] = '\0';
    json = encoded(&event);
    assert_string_equal(text_of(json, "status_detail"), reason);
    assert_null(member(json, "metadata.is_truncated"));
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
    event.client_random = event.ticket;
    event.radius_class = event.ticket;
    json_t *json = encoded(&event);
    /* printf tgt-secret-ticket | openssl dgst -sha256 -mac HMAC -macopt hexkey:00…00 */
    static const char hmac[] = "07e7068814dd873cf9a499713db409094b48ffe9b788710229679cd6e17679fa";
    assert_string_equal(text_of(json, "unmapped.ticket_hmac"), hmac);
    assert_string_equal(text_of(json, "unmapped.client_random_hmac"), hmac);
    assert_string_equal(text_of(json, "unmapped.class_hmac"), hmac);
    char *all = json_dumps(json, 0);
    assert_null(strstr(all, "secret"));
    free(all);
    json_decref(json);
}

/* Every member as long as it may come, and longer, made of what JSON writes longest: the line stays below
 * what a tree of tiles can hold. */
static void test_the_longest_line_is_short_enough(void **state)
{
    (void)state;
    char name[RECORD_EVENT_MAX + 1], text[4001];
    uint8_t bytes[RECORD_HIDDEN_MAX] = {0};
    char *body = NULL;
    size_t len = 0;
    memset(name, 'n', RECORD_EVENT_MAX);
    name[RECORD_EVENT_MAX] = '\0';
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.reason = event.service = event.trace_id = event.user = event.source = event.qkud_id = text;
    event.shield_id = event.session_id = event.target = event.policy = event.peer = event.detail = text;
    event.ticket = event.client_random = event.radius_class = (ProtobufCBinaryData){sizeof bytes, bytes};
    event.bytes_in = event.bytes_out = event.time_us = UINT64_MAX;
    assert_int_equal(record_encode(&event, key, &body, &len, NULL), TG_OK);
    assert_true(len <= 65535 - 200);
    free(body);
}

static void test_whole_event(void **state)
{
    (void)state;
    char name[] = "stream.closed", user[] = "\xe5\xbc\xa0\xe4\xb8\x89", source[] = "192.0.2.7:40001";
    char target[] = "10.1.2.3:22", trace[] = "5f0c", service[] = "gateway", session[] = "9c";
    uint8_t id[REQUEST_ID_LEN] = {0xab};
    Tg__Event event = TG__EVENT__INIT;
    event.event = name;
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.time_us = UINT64_C(1795464851123456);
    event.user = user;
    event.source = source;
    event.target = target;
    event.trace_id = trace;
    event.service = service;
    event.session_id = session;
    event.id = (ProtobufCBinaryData){sizeof id, id};
    event.bytes_in = 5;
    event.bytes_out = UINT64_MAX - 5;
    char *body = NULL;
    size_t len = 0;
    assert_int_equal(record_encode(&event, key, &body, &len, NULL), TG_OK);
    assert_string_equal(
        body,
        "\"version\":\"1.8.0\",\"event_code\":\"stream.closed\",\"uid\":\"ab000000000000000000000000000000\","
        "\"correlation_uid\":\"5f0c\",\"product\":{\"name\":\"TicketGate\",\"vendor_name\":\"TicketGate\","
        "\"feature\":{\"name\":\"gateway\"}},\"profiles\":[\"datetime\",\"host\"]},"
        "\"time\":1795464851123,\"time_dt\":\"2026-11-23T20:14:11.123456Z\","
        "\"category_uid\":4,\"class_uid\":4001,\"type_uid\":400102,\"activity_id\":2,"
        "\"severity_id\":1,\"severity\":\"Informational\",\"status_id\":1,\"status\":\"Success\","
        "\"actor\":{\"user\":{\"name\":\"\xe5\xbc\xa0\xe4\xb8\x89\",\"type_id\":1},\"session\":{\"uid\":"
        "\"9c\"}},"
        "\"src_endpoint\":{\"ip\":\"192.0.2.7\",\"port\":40001},"
        "\"dst_endpoint\":{\"ip\":\"10.1.2.3\",\"port\":22},"
        "\"traffic\":{\"bytes_in\":9223372036854775807,\"bytes_out\":5}}");
    free(body);
}

static void test_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ip, *hostname, *name;
        json_int_t port;
    } rows[] = {
        {"192.0.2.7:40001", "192.0.2.7", NULL, NULL, 40001},
        {"[2001:db8::1]:443", "2001:db8::1", NULL, NULL, 443},
        {"2001:db8::1:443", "2001:db8::1", NULL, NULL, 443}, /* a target as the client wrote it */
        {"db.bank.example:5432", NULL, "db.bank.example", NULL, 5432},
        {"db.bank.example", NULL, NULL, "db.bank.example", -1},
        {"db:x", NULL, NULL, "db:x", -1},
        {"db:", NULL, NULL, "db:", -1},
        {":22", NULL, NULL, ":22", -1},
        {"db:123456", NULL, NULL, "db:123456", -1},
        {"a\nb:1", NULL, "a\ufffdb", NULL, 1},
        {"[]:1", NULL, "[]", NULL, 1},
    };
    char name[] = "stream.opened", text[64];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const char *const kinds[] = {"ip", "hostname", "name"};
        const char *const expected[] = {rows[i].ip, rows[i].hostname, rows[i].name};
        Tg__Event event = TG__EVENT__INIT;
        snprintf(text, sizeof text, "%s", rows[i].text);
        event.event = name;
        event.target = text;
        json_t *json = encoded(&event);
        const json_t *endpoint = member(json, "dst_endpoint");
        for (size_t k = 0; k < 3; k++) {
            const char *value = json_string_value(json_object_get(endpoint, kinds[k]));
            assert_true((value == NULL) == (expected[k] == NULL));
            if (value != NULL)
                assert_string_equal(value, expected[k]);
        }
        assert_int_equal(number_of(endpoint, "port"), rows[i].port);
        json_decref(json);
    }
}

/* What OCSF requires of every event, and of each class. */
static void test_required_members(void **state)
{
    (void)state;
    static const struct {
        const char *event, *object;
        json_int_t type_uid, failed_severity;
    } rows[] = {
        {"handshake.authenticated", "user", 300206, 3},
        {"handshake.refused", "user", 300206, 2},
        {"login.accepted", "user", 300201, 3},
        {"session.ended", "user", 300202, 3},
        {"session.of_tomorrow", "user", 300299, 3},
        {"key.spent", "entity", 300499, 3},
        {"shield.revoked", "entity", 300407, 3},
        {"stream.refused", "dst_endpoint", 400105, 3},
        {"audit.started", "app", 600203, 3},
        {"audit.recovered", "app", 600299, 4},
        {"something.new", "app", 600299, 3},
        {"radius.server_down", "app", 600299, 4},
    };
    char name[64], target[] = "db:1", service[] = "gateway";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Tg__Event event = TG__EVENT__INIT;
        snprintf(name, sizeof name, "%s", rows[i].event);
        event.event = name;
        event.target = target;
        event.service = service;
        event.outcome = TG__EVENT__OUTCOME__FAILURE;
        json_t *json = encoded(&event);
        assert_true(json_object_size(member(json, rows[i].object)) > 0);
        assert_int_equal(number_of(json, "type_uid"), rows[i].type_uid);
        assert_int_equal(number_of(json, "class_uid"), rows[i].type_uid / 100);
        assert_int_equal(number_of(json, "category_uid"), rows[i].type_uid / 100000);
        assert_int_equal(number_of(json, "activity_id"), rows[i].type_uid % 100);
        assert_true((member(json, "activity_name") != NULL) == (rows[i].type_uid % 100 == 99));
        assert_int_equal(number_of(json, "severity_id"), rows[i].failed_severity);
        assert_int_equal(number_of(json, "status_id"), 2);
        assert_string_equal(text_of(json, "status"), "Failure");
        assert_true(number_of(json, "time") > 0);
        assert_string_equal(text_of(json, "metadata.version"), "1.8.0");
        assert_string_equal(text_of(json, "metadata.product.name"), "TicketGate");
        assert_string_equal(text_of(json, "metadata.event_code"), rows[i].event);
        json_decref(json);
    }
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
        cmocka_unit_test(test_the_longest_line_is_short_enough),
        cmocka_unit_test(test_whole_event),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_required_members),
        cmocka_unit_test(test_times_have_one_length),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
