/* From a request to attributes and from attributes to an answer, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/pb.h"
#include "services/radius-bridge/attributes.h"

static rc_handle *handle;
static VALUE_PAIR *pairs;

static int make_handle(void **state)
{
    (void)state;
    handle = rc_config_init(rc_new());
    return handle != NULL && attributes_define(handle) ? 0 : -1;
}

static int free_handle(void **state)
{
    (void)state;
    rc_destroy(handle);
    return 0;
}

static int free_pairs(void **state)
{
    (void)state;
    rc_avpair_free(pairs);
    pairs = NULL;
    return 0;
}

static void add(int attribute, const void *value, int len)
{
    assert_non_null(rc_avpair_add(handle, &pairs, attribute, value, len, VENDOR_NONE));
}

static void add_session(void)
{
    uint32_t seconds = 60;
    uint32_t echo = 1;
    add(PW_SESSION_TIMEOUT, &seconds, 0);
    add(PW_IDLE_TIMEOUT, &seconds, 0);
    add(PW_FILTER_ID, "ops", 3);
    add(PW_CLASS, "\0class", 6);
    add(PW_STATE, "\0state", 6);
    add(PW_PROMPT, &echo, 0);
    add(PW_REPLY_MESSAGE, "hello", 5);
}

static struct radius_answer answer_as(Tg__LoginResponse__Outcome outcome)
{
    struct radius_answer answer = {.outcome = outcome};
    attributes_get(pairs, &answer);
    return answer;
}

static void test_reject_gives_nothing_but_its_message(void **state)
{
    (void)state;
    add_session();
    struct radius_answer answer = answer_as(TG__LOGIN_RESPONSE__OUTCOME__REJECT);
    assert_string_equal(answer.reply_message, "hello");
    assert_string_equal(answer.filter_id, "");
    assert_int_equal(answer.session_timeout_s + answer.idle_timeout_s, 0);
    assert_int_equal(answer.klass_len + answer.state_len, 0);
}

static void test_challenge_gives_state_and_prompt(void **state)
{
    (void)state;
    add_session();
    struct radius_answer answer = answer_as(TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE);
    assert_int_equal(answer.state_len, 6);
    assert_memory_equal(answer.state, "\0state", 6);
    assert_true(answer.echo);
    assert_string_equal(answer.filter_id, "");
    assert_int_equal(answer.session_timeout_s + answer.idle_timeout_s, 0);
}

static void test_accept_gives_the_session(void **state)
{
    (void)state;
    add_session();
    struct radius_answer answer = answer_as(TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    assert_int_equal(answer.session_timeout_s, 60);
    assert_int_equal(answer.idle_timeout_s, 60);
    assert_string_equal(answer.filter_id, "ops");
    assert_int_equal(answer.klass_len, 6);
    assert_int_equal(answer.state_len, 0);
}

static void test_nothing_at_all(void **state)
{
    (void)state;
    struct radius_answer answer = answer_as(TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE);
    assert_int_equal(answer.state_len, 0);
    assert_false(answer.echo); /* the answer to a challenge is a secret unless the server says otherwise */
    assert_string_equal(answer.reply_message, "");
}

static void test_messages_are_harmless_and_bounded(void **state)
{
    (void)state;
    char text[RADIUS_VALUE_MAX];
    memset(text, 'm', sizeof text);
    add(PW_REPLY_MESSAGE, "a\033[2J\xff", 6);
    for (int i = 0; i < 10; i++)
        add(PW_REPLY_MESSAGE, text, sizeof text);
    struct radius_answer answer = answer_as(TG__LOGIN_RESPONSE__OUTCOME__REJECT);
    assert_memory_equal(answer.reply_message, "a\ufffd[2J\ufffd\nmmm", 14);
    assert_in_range(strlen(answer.reply_message), RADIUS_MESSAGE_MAX - 2, RADIUS_MESSAGE_MAX);
}

static VALUE_PAIR *sent(int attribute)
{
    return rc_avpair_get(pairs, attribute, VENDOR_NONE);
}

static void test_request(void **state)
{
    (void)state;
    struct in6_addr own = IN6ADDR_LOOPBACK_INIT;
    Tg__LoginRequest request = TG__LOGIN_REQUEST__INIT;
    request.user = pb_string("alice");
    request.password = pb_bytes("wonder", 6);
    request.state = pb_bytes("\0state", 6);
    request.calling_station = pb_string("192.0.2.1");
    request.session_id = pb_string("s1");
    request.nas_identifier = pb_string("qkud-1");
    assert_true(attributes_put(handle, &request, &own, &pairs));
    assert_string_equal(sent(PW_USER_NAME)->strvalue, "alice");
    assert_string_equal(sent(PW_USER_PASSWORD)->strvalue, "wonder");
    assert_string_equal(sent(PW_CALLING_STATION_ID)->strvalue, "192.0.2.1");
    assert_string_equal(sent(PW_ACCT_SESSION_ID)->strvalue, "s1");
    assert_string_equal(sent(PW_NAS_IDENTIFIER)->strvalue, "qkud-1");
    assert_int_equal(sent(PW_STATE)->lvalue, 6);
    assert_int_equal(sent(PW_SERVICE_TYPE)->lvalue, PW_LOGIN);
    assert_memory_equal(sent(PW_NAS_IPV6_ADDRESS)->strvalue, &own, sizeof own);
    attributes_wipe(pairs);
    static const char wiped[sizeof sent(PW_USER_PASSWORD)->strvalue];
    assert_memory_equal(sent(PW_USER_PASSWORD)->strvalue, wiped, sizeof wiped);
    assert_string_equal(sent(PW_USER_NAME)->strvalue, "alice");
}

static void test_empty_values_are_left_out(void **state)
{
    (void)state;
    Tg__LoginRequest request = TG__LOGIN_REQUEST__INIT;
    request.user = pb_string("alice");
    assert_true(attributes_put(handle, &request, NULL, &pairs));
    assert_null(sent(PW_STATE));
    assert_null(sent(PW_CALLING_STATION_ID));
    assert_null(sent(PW_NAS_IPV6_ADDRESS));
    assert_int_equal(sent(PW_USER_PASSWORD)->lvalue, 1); /* padded with zeros it is the empty password */
}

#define TEST(name) cmocka_unit_test_teardown(name, free_pairs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reject_gives_nothing_but_its_message),
        TEST(test_challenge_gives_state_and_prompt),
        TEST(test_accept_gives_the_session),
        TEST(test_nothing_at_all),
        TEST(test_messages_are_harmless_and_bounded),
        TEST(test_request),
        TEST(test_empty_values_are_left_out),
    };
    return cmocka_run_group_tests(tests, make_handle, free_handle);
}
