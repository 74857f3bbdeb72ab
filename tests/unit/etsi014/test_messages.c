/* The bodies of ETSI GS QKD 014, to the byte, and what is refused in their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/json.h"
#include "common/etsi014/message.h"

#define ID_A "bc490419-7d60-487f-adc1-4ddcc177c139"
#define ID_B "0a782fb5-3434-48fe-aa4d-14f41d46cf92"
#define KEY_A "MDEyMzQ1Njc4OWFiY2RlZg=="
#define ITEM(id, key) "{\"key_ID\":\"" id "\",\"key\":\"" key "\"}"

static void bad_status_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *word;
    } cases[] = {
        {"", "not a JSON object"},
        {"<html><body>It works!</body></html>", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"key_size\":256", "not a JSON object"},
        {"{\"key_size\":1,\"key_size\":2}", "not a JSON object"},
        {"{\"key_size\":\"256\"}", "key_size"},
        {"{\"key_size\":-1}", "key_size"},
        {"{\"max_key_count\":4294967296}", "max_key_count"},
        {"{\"max_key_per_request\":1.5}", "max_key_per_request"},
        {"{\"source_KME_ID\":7}", "source_KME_ID"},
        {"{\"slave_SAE_ID\":\"a\\nb\"}", "slave_SAE_ID"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etsi014_status status;
        struct tg_error err = {0};
        assert_int_equal(etsi014_status_decode(cases[i].body, strlen(cases[i].body), &status, &err),
                         TG_DATA_LOSS);
        assert_non_null(strstr(err.text, cases[i].word));
    }
}

static void a_status_may_have_nulls_and_extras_and_leave_out(void **state)
{
    (void)state;
    static const char body[] = "{\"key_size\":256,\"max_key_size\":null,\"status_extension\":{\"a\":[1]},"
                               "\"source_KME_ID\":null,\"vendor\":true}";
    struct etsi014_status status;
    assert_int_equal(etsi014_status_decode(body, strlen(body), &status, NULL), TG_OK);
    assert_int_equal(status.key_size, 256);
    assert_int_equal(status.max_key_size, 0);
    assert_string_equal(status.source_kme, "");
}

static void a_status_is_written_as_in_the_standard(void **state)
{
    (void)state;
    static const char expected[] =
        "{\"source_KME_ID\":\"k1\",\"target_KME_ID\":\"k2\",\"master_SAE_ID\":\"a\",\"slave_SAE_ID\":\"b\","
        "\"key_size\":256,\"stored_key_count\":3,\"max_key_count\":4,\"max_key_per_request\":5,"
        "\"max_key_size\":256,\"min_key_size\":64,\"max_SAE_ID_count\":0}";
    const struct etsi014_status status = {.source_kme = "k1",
                                          .target_kme = "k2",
                                          .master_sae = "a",
                                          .slave_sae = "b",
                                          .key_size = 256,
                                          .stored_key_count = 3,
                                          .max_key_count = 4,
                                          .max_key_per_request = 5,
                                          .max_key_size = 256,
                                          .min_key_size = 64};
    size_t len = 0;
    char *body = etsi014_status_encode(&status, &len);
    assert_string_equal(body, expected);
    struct etsi014_status again;
    assert_int_equal(etsi014_status_decode(body, len, &again, NULL), TG_OK);
    assert_memory_equal(&again, &status, sizeof status);
    etsi014_body_free(body, len);
}

static void bad_containers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *word;
    } cases[] = {
        {"", "not a JSON object"},
        {"<!DOCTYPE html>", "not a JSON object"},
        {"{\"keys\":[" ITEM(ID_A, KEY_A), "not a JSON object"},
        {"null", "not a JSON object"},
        {"{}", "no list of keys"},
        {"{\"keys\":null}", "no list of keys"},
        {"{\"keys\":{}}", "no list of keys"},
        {"{\"keys\":[]}", "0 keys instead of 1"},
        {"{\"keys\":[" ITEM(ID_A, KEY_A) "," ITEM(ID_B, KEY_A) "]}", "2 keys instead of 1"},
        {"{\"keys\":[null]}", "key_ID"},
        {"{\"keys\":[{\"key_ID\":null,\"key\":\"" KEY_A "\"}]}", "key_ID"},
        {"{\"keys\":[{\"key\":\"" KEY_A "\"}]}", "key_ID"},
        {"{\"keys\":[" ITEM("1", KEY_A) "]}", "key_ID"},
        {"{\"keys\":[" ITEM(ID_A "0", KEY_A) "]}", "key_ID"},
        {"{\"keys\":[" ITEM("bc490419_7d60-487f-adc1-4ddcc177c139", KEY_A) "]}", "key_ID"},
        {"{\"keys\":[{\"key_ID\":\"" ID_A "\"}]}", "128 bits"},
        {"{\"keys\":[{\"key_ID\":\"" ID_A "\",\"key\":null}]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2Rl") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2RlZmc=") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2RlZg") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2R=Zg==") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, " MDEyMzQ1Njc4OWFiY2RlZg=") "]}", "128 bits"},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2RlZ-==") "]}", "128 bits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etsi014_keys keys = {0};
        struct tg_error err = {0};
        enum tg_code code = etsi014_keys_decode(cases[i].body, strlen(cases[i].body), 1, 16, &keys, &err);
        if (code != TG_DATA_LOSS || strstr(err.text, cases[i].word) == NULL)
            fail_msg("%s: %s: %s", cases[i].body, tg_code_name(code), err.text);
        assert_null(keys.bytes);
    }
}

static void a_key_twice_is_refused(void **state)
{
    (void)state;
    static const char body[] =
        "{\"keys\":[" ITEM(ID_A, KEY_A) "," ITEM("BC490419-7d60-487f-adc1-4ddcc177c139", KEY_A) "]}";
    struct etsi014_keys keys = {0};
    struct tg_error err = {0};
    assert_int_equal(etsi014_keys_decode(body, strlen(body), 2, 16, &keys, &err), TG_DATA_LOSS);
    assert_non_null(strstr(err.text, "twice"));
}

static void containers_are_read_as_kmes_write_them(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"keys\":[" ITEM(ID_A, KEY_A) "]}",
        "{\"Keys\":[" ITEM(ID_A, KEY_A) "]}",
        "{\"keys\":[" ITEM("BC490419-7D60-487F-ADC1-4DDCC177C139", KEY_A) "]}",
        "{\"key_container_extension\":null,\"keys\":[{\"key_ID\":\"" ID_A
        "\",\"key_ID_extension\":null,\"key\":\"" KEY_A "\",\"key_extension\":{\"qber\":0.01}}],\"x\":[]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct etsi014_keys keys = {0};
        char id[ETSI014_ID_TEXT_LEN + 1];
        assert_int_equal(etsi014_keys_decode(bodies[i], strlen(bodies[i]), 1, 16, &keys, NULL), TG_OK);
        ticket_key_id_text(keys.ids[0], id);
        assert_string_equal(id, ID_A);
        assert_memory_equal(secret_view(keys.bytes), "0123456789abcdef", 16);
        etsi014_keys_fini(&keys);
    }
}

static void a_container_is_written_as_in_the_standard(void **state)
{
    (void)state;
    struct etsi014_keys keys = {0};
    size_t len = 0;
    assert_int_equal(etsi014_keys_init(&keys, 2, 16, NULL), TG_OK);
    assert_true(etsi014_id_decode(ID_A, keys.ids[0]));
    assert_true(etsi014_id_decode(ID_B, keys.ids[1]));
    memcpy(secret_bytes(keys.bytes), "0123456789abcdef0123456789abcdef", 32);
    char *body = etsi014_keys_encode(&keys, &len);
    assert_string_equal(body, "{\"keys\":[" ITEM(ID_A, KEY_A) "," ITEM(ID_B, KEY_A) "]}");
    assert_int_equal(len, strlen(body));
    etsi014_body_free(body, len);
    etsi014_keys_fini(&keys);
}

static void the_largest_container_goes_through(void **state)
{
    (void)state;
    struct etsi014_keys keys = {0}, again = {0};
    size_t len = 0;
    assert_int_equal(etsi014_keys_init(&keys, ETSI014_KEYS_MAX, ETSI014_KEY_BYTES_MAX, NULL), TG_OK);
    for (size_t i = 0; i < keys.count; i++)
        ticket_new_key_id(keys.ids[i]);
    char *body = etsi014_keys_encode(&keys, &len);
    assert_true(len < ETSI014_BODY_MAX);
    assert_int_equal(etsi014_keys_decode(body, len, keys.count, keys.key_len, &again, NULL), TG_OK);
    assert_memory_equal(again.ids, keys.ids, keys.count * sizeof *keys.ids);
    etsi014_body_free(body, len);
    etsi014_keys_fini(&keys);
    etsi014_keys_fini(&again);
}

static void bad_requests_get_the_texts_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"x", "the key request is not a JSON object"},
        {"{\"number\":-1}", "number shall be a whole number"},
        {"{\"number\":\"1\"}", "number shall be a whole number"},
        {"{\"size\":2.5}", "size shall be a whole number"},
        {"{\"additional_slave_SAE_IDs\":\"c\"}", "additional_slave_SAE_IDs shall be an array"},
        {"{\"extension_mandatory\":{}}", "extension_mandatory shall be an array"},
        {"{\"extension_optional\":1}", "extension_optional shall be an array"},
        {"{\"extension_mandatory\":[{\"abc_route_type\":\"direct\"}]}",
         "not all extension_mandatory parameters are supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etsi014_request request;
        struct tg_error err = {0};
        assert_int_equal(etsi014_request_decode(cases[i].body, strlen(cases[i].body), &request, &err),
                         TG_INVALID_ARGUMENT);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void requests_are_read(void **state)
{
    (void)state;
    static const char full[] = "{\"number\":3,\"size\":128,\"additional_slave_SAE_IDs\":[\"c\",\"d\"],"
                               "\"extension_mandatory\":[],\"extension_optional\":[{\"x\":1}],\"y\":null}";
    struct etsi014_request request = {.number = 1, .size = 256};
    assert_int_equal(etsi014_request_decode("", 0, &request, NULL), TG_OK);
    assert_int_equal(request.number, 1);
    assert_int_equal(etsi014_request_decode("{\"size\":null}", 13, &request, NULL), TG_OK);
    assert_int_equal(request.size, 256);
    assert_int_equal(etsi014_request_decode(full, strlen(full), &request, NULL), TG_OK);
    assert_int_equal(request.number, 3);
    assert_int_equal(request.size, 128);
    assert_int_equal(request.additional_slaves, 2);
}

static void lists_of_key_ids_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *body, *word;
    } cases[] = {
        {"", "not a JSON object"},
        {"{}", "at least one"},
        {"{\"key_IDs\":[]}", "at least one"},
        {"{\"key_IDs\":\"" ID_A "\"}", "at least one"},
        {"{\"key_IDs\":[\"" ID_A "\"]}", "a UUID"},
        {"{\"key_IDs\":[{\"key_ID\":null}]}", "a UUID"},
        {"{\"key_IDs\":[{\"key_ID\":\"" ID_A "\"},{\"key_ID\":\"" ID_A "\"}]}", "twice"},
        {"{\"key_IDs\":[{},{},{}]}", "at most 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t ids[2][TICKET_KEY_ID_LEN];
        size_t count;
        struct tg_error err = {0};
        assert_int_equal(etsi014_key_ids_decode(cases[i].body, strlen(cases[i].body), 2, ids, &count, &err),
                         TG_INVALID_ARGUMENT);
        assert_non_null(strstr(err.text, cases[i].word));
    }
}

static void lists_of_key_ids_are_written_as_in_the_standard(void **state)
{
    (void)state;
    uint8_t ids[2][TICKET_KEY_ID_LEN], again[2][TICKET_KEY_ID_LEN];
    size_t len = 0, count = 0;
    assert_true(etsi014_id_decode(ID_A, ids[0]));
    assert_true(etsi014_id_decode(ID_B, ids[1]));
    char *body = etsi014_key_ids_encode(ids, 2, &len);
    assert_string_equal(body, "{\"key_IDs\":[{\"key_ID\":\"" ID_A "\"},{\"key_ID\":\"" ID_B "\"}]}");
    assert_int_equal(etsi014_key_ids_decode(body, len, 2, again, &count, NULL), TG_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(ids, again, sizeof ids);
    etsi014_body_free(body, len);
}

static void errors_are_one_harmless_line(void **state)
{
    (void)state;
    char text[24];
    size_t len = 0;
    char *body = etsi014_error_encode("dry", &len);
    assert_string_equal(body, "{\"message\":\"dry\"}");
    etsi014_error_decode(body, len, text, sizeof text);
    assert_string_equal(text, "dry");
    etsi014_body_free(body, len);
    static const char *const nothing[] = {"", "<html>", "{}", "{\"message\":null}", "{\"message\":[1]}"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        etsi014_error_decode(nothing[i], strlen(nothing[i]), text, sizeof text);
        assert_string_equal(text, "");
    }
    static const char steering[] = "{\"message\":\"a\\u001b[2J\\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}";
    etsi014_error_decode(steering, strlen(steering), text, sizeof text);
    assert_true(strlen(text) < sizeof text);
    assert_null(strchr(text, '\n'));
    assert_null(strchr(text, 27));
}

/* What the libraries are given for their memory. */
static void memory_that_moves_keeps_its_content(void **state)
{
    (void)state;
    char *p = etsi014_wiping_realloc(NULL, 4);
    memcpy(p, "key", 4);
    p = etsi014_wiping_realloc(p, 100000);
    assert_string_equal(p, "key");
    p = etsi014_wiping_realloc(p, 4);
    assert_string_equal(p, "key");
    etsi014_wiping_free(p);
    etsi014_wiping_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_status_is_refused),
        cmocka_unit_test(a_status_may_have_nulls_and_extras_and_leave_out),
        cmocka_unit_test(a_status_is_written_as_in_the_standard),
        cmocka_unit_test(bad_containers_are_refused),
        cmocka_unit_test(a_key_twice_is_refused),
        cmocka_unit_test(containers_are_read_as_kmes_write_them),
        cmocka_unit_test(a_container_is_written_as_in_the_standard),
        cmocka_unit_test(the_largest_container_goes_through),
        cmocka_unit_test(bad_requests_get_the_texts_of_the_standard),
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(lists_of_key_ids_are_bounded),
        cmocka_unit_test(lists_of_key_ids_are_written_as_in_the_standard),
        cmocka_unit_test(errors_are_one_harmless_line),
        cmocka_unit_test(memory_that_moves_keeps_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
