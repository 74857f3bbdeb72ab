/* What a RADIUS server says, and what becomes of it: against a real FreeRADIUS. */
#include "tests/unit/radius-bridge/radius_fixture.h"

static int open_rig(void **state)
{
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    rig_start(rig);
    *state = rig;
    return 0;
}

static int close_rig(void **state)
{
    rig_free(*state);
    return 0;
}

static void test_wrong_password_is_rejected(void **state)
{
    struct login login;
    assert_int_equal(log_in(*state, &login, "alice", "wunder"), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
    assert_non_null(strstr(login.answer.reply_message, "Welcome")); /* whatever the server says to it */
    assert_int_equal(login.answer.session_timeout_s, 0);
    assert_string_equal(login.answer.filter_id, "");
    assert_int_equal(login.answer.klass_len, 0);
}

static void test_unknown_user_is_rejected(void **state)
{
    struct login login;
    assert_int_equal(log_in(*state, &login, "nobody", "wonder"), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
}

static void test_empty_password_is_rejected(void **state)
{
    struct login login;
    assert_int_equal(log_in(*state, &login, "alice", ""), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
}

static void test_longest_password_arrives_whole(void **state)
{
    char password[RADIUS_PASSWORD_MAX + 1];
    struct login login;
    memset(password, 'x', RADIUS_PASSWORD_MAX);
    password[RADIUS_PASSWORD_MAX] = '\0';
    assert_int_equal(log_in(*state, &login, "verbose", password), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    password[RADIUS_PASSWORD_MAX - 1] = 'y';
    assert_int_equal(log_in(*state, &login, "verbose", password), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
}

static void test_accept_carries_the_session(void **state)
{
    static const uint8_t klass[] = {0x00, 0x01, 0xff};
    struct login login;
    assert_int_equal(log_in(*state, &login, "alice", "wonder"), TG_OK);
    const struct radius_answer *answer = &login.answer;
    assert_int_equal(answer->outcome, TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    assert_string_equal(answer->reply_message, "Welcome, alice.\nMind the gap");
    assert_int_equal(answer->session_timeout_s, 3600);
    assert_int_equal(answer->idle_timeout_s, 600);
    assert_string_equal(answer->filter_id, "core-ops");
    assert_int_equal(answer->klass_len, sizeof klass);
    assert_memory_equal(answer->klass, klass, sizeof klass);
    assert_int_equal(answer->state_len, 0);
    assert_string_equal(login.server, "radius-1");
}

/* Starts a challenge and answers it with `code`. */
static enum tg_code answer_challenge(struct rig *rig, struct login *second, const char *code)
{
    struct login first;
    assert_int_equal(log_in(rig, &first, "carol", "pw"), TG_OK);
    assert_int_equal(first.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE);
    assert_string_equal(first.answer.reply_message, "One-time code:");
    assert_false(first.answer.echo);
    assert_true(first.answer.state_len > 0);
    assert_int_equal(first.answer.session_timeout_s, 0);
    login_init(second, "carol", code);
    second->request.state = pb_bytes(first.answer.state, first.answer.state_len);
    second->request.server = pb_string(first.server);
    login_start(rig, second, 60000);
    return login_wait(second);
}

static void test_challenge_with_wrong_code_is_rejected(void **state)
{
    struct login second;
    assert_int_equal(answer_challenge(*state, &second, "654321"), TG_OK);
    assert_int_equal(second.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
}

static void test_challenge_is_answered(void **state)
{
    struct login second;
    assert_int_equal(answer_challenge(*state, &second, "123456"), TG_OK);
    assert_int_equal(second.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    assert_int_equal(second.answer.session_timeout_s, 100);
}

static void test_made_up_state_is_rejected(void **state)
{
    struct login login;
    login_init(&login, "carol", "123456");
    login.request.state = pb_bytes("made up, 16 byte", 16);
    login.request.server = pb_string("radius-1");
    login_start(*state, &login, 60000);
    assert_int_equal(login_wait(&login), TG_OK);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__REJECT);
}

static void test_challenge_of_an_unknown_server(void **state)
{
    struct login login;
    login_init(&login, "carol", "123456");
    login.request.state = pb_bytes("x", 1);
    login.request.server = pb_string("radius-9");
    login_start(*state, &login, 60000);
    assert_int_equal(login_wait(&login), TG_FAILED_PRECONDITION);
}

static void test_many_at_once(void **state)
{
    enum { LOGINS = 48 };
    static struct login logins[LOGINS];
    for (int i = 0; i < LOGINS; i++) {
        login_init(&logins[i], i % 3 == 0 ? "nobody" : "alice", "wonder");
        login_start(*state, &logins[i], 60000);
    }
    for (int i = 0; i < LOGINS; i++) {
        assert_int_equal(login_wait(&logins[i]), TG_OK);
        assert_int_equal(logins[i].answer.outcome, i % 3 == 0 ? TG__LOGIN_RESPONSE__OUTCOME__REJECT
                                                              : TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_password_is_rejected),     TEST(test_unknown_user_is_rejected),
        TEST(test_empty_password_is_rejected),     TEST(test_longest_password_arrives_whole),
        TEST(test_accept_carries_the_session),     TEST(test_challenge_with_wrong_code_is_rejected),
        TEST(test_challenge_is_answered),          TEST(test_made_up_state_is_rejected),
        TEST(test_challenge_of_an_unknown_server), TEST(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, radius_open, radius_close);
}
