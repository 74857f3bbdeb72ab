/* Servers that are not there, break off, keep silent or are not who they should be. */
#include "tests/unit/radius-bridge/radius_fixture.h"

static void test_server_that_is_down(void **state)
{
    (void)state;
    int port = 0;
    struct login login;
    struct rig *rig = rig_new();
    close(listen_on(&port));
    rig_add(rig, port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    assert_non_null(strstr(login.text, "radius-1: cannot connect to 127.0.0.1: Connection refused"));
    assert_false(pool_is_ready(rig->pool));
    rig_free(rig);
}

static void test_server_that_comes_back(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    radius_stop();
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    radius_start();
    assert_accepted(rig); /* whoever comes next makes it try at once */
    assert_true(pool_is_ready(rig->pool));
    assert_int_equal(rig->changes, 2);
    rig_free(rig);
}

/* Also without anybody who asks. */
static void test_server_that_comes_back_is_noticed(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    radius_stop();
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    radius_start();
    while (!pool_is_ready(rig->pool))
        poll(NULL, 0, 5);
    rig_free(rig);
}

static void test_restarted_server_fails_nobody(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_accepted(rig);
    radius_stop();
    radius_start();
    assert_accepted(rig);
    rig_free(rig);
}

static void test_idle_connections_that_were_closed(void **state)
{
    (void)state;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_start(rig);
    for (int i = 0; i < 5; i++) {
        assert_accepted(rig);
        relay_drop(relay);
    }
    assert_accepted(rig);
    assert_true(relay->accepted >= 6);
    rig_free(rig);
    relay_close(relay);
}

/* The server closes at the very moment when the question arrives: nobody notices, as long as it happens once.
 */
static void test_connection_closed_by_the_question(void **state)
{
    (void)state;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig->options.workers = 1;
    rig_add(rig, relay->port);
    rig_start(rig);
    for (int i = 0; i < 5; i++) {
        assert_accepted(rig);
        relay->mode = RELAY_CLOSES_ONE;
    }
    assert_accepted(rig);
    rig_free(rig);
    relay_close(relay);
}

/* But a question that breaks every connection is given up. */
static void test_connections_closed_by_every_question(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_start(rig);
    assert_accepted(rig);
    relay->mode = RELAY_CLOSES;
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    rig_free(rig);
    relay_close(relay);
}

static void test_next_server_takes_over(void **state)
{
    (void)state;
    int port = 0;
    struct login login;
    struct rig *rig = rig_new();
    close(listen_on(&port));
    rig_add(rig, port);
    rig_add(rig, radius.port);
    rig_start(rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_OK);
        assert_string_equal(login.server, "radius-2");
    }
    rig_free(rig);
}

static void test_first_server_is_preferred(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    rig_add(rig, radius.port);
    rig_start(rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_OK);
        assert_string_equal(login.server, "radius-1");
    }
    rig_free(rig);
}

/* It takes connections and never says a word: not even the TLS handshake ends. */
static void test_silent_server_slows_nobody(void **state)
{
    enum { LOGINS = 32 };
    static struct login logins[LOGINS];
    (void)state;
    struct relay *relay = relay_open(RELAY_IS_SILENT);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_add(rig, radius.port);
    rig_start(rig);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LOGINS; i++) {
            login_init(&logins[i], "alice", "wonder");
            login_start(rig, &logins[i], 30000); /* radcli itself would hang for 40 s */
        }
        for (int i = 0; i < LOGINS; i++) {
            assert_int_equal(login_wait(&logins[i]), TG_OK);
            assert_string_equal(logins[i].server, "radius-2");
        }
    }
    assert_int_equal(rig->changes, 1);
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

static void test_only_server_is_silent(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_IS_SILENT);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    relay->mode = RELAY_FORWARDS;                           /* while the first handshake still hangs */
    while (log_in(rig, &login, "alice", "wonder") != TG_OK) /* another one may have begun just before */
        assert_int_equal(login.status, TG_UNAVAILABLE);
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

/* Connected, but without an answer: the question is given up, the next server asked, and the mute one passed
 * over. */
static void test_server_that_stops_answering(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig->options.response_timeout_ms = 300;
    rig_add(rig, relay->port);
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_OK);
    relay->mode = RELAY_IS_SILENT;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_OK);
        assert_string_equal(login.server, "radius-2");
    }
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

static void test_no_answer_in_time(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_start(rig);
    assert_accepted(rig);
    relay->mode = RELAY_IS_SILENT;
    login_init(&login, "alice", "wonder");
    login_start(rig, &login, 200);
    assert_int_equal(login_wait(&login), TG_DEADLINE_EXCEEDED);
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

/* Half an answer wakes radcli, which then reads on without any limit of its own. */
static void test_half_an_answer(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_start(rig);
    assert_accepted(rig);
    relay->mode = RELAY_STALLS;
    login_init(&login, "alice", "wonder");
    login_start(rig, &login, 200);
    assert_int_equal(login_wait(&login), TG_DEADLINE_EXCEEDED);
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

static void test_open_challenge_moves_to_no_other_server(void **state)
{
    (void)state;
    struct login first;
    struct login second;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig_add(rig, relay->port);
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &first, "carol", "pw"), TG_OK);
    assert_string_equal(first.server, "radius-1");
    relay->mode = RELAY_CLOSES;
    relay_drop(relay);
    login_init(&second, "carol", "123456");
    second.request.state = pb_bytes(first.answer.state, first.answer.state_len);
    second.request.server = pb_string(first.server);
    login_start(rig, &second, 60000);
    assert_int_equal(login_wait(&second), TG_UNAVAILABLE);
    assert_non_null(strstr(second.text, "the challenge cannot be answered"));
    rig_free(rig);
    relay_close(relay);
}

static void test_wrong_ca_is_refused(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    snprintf(rig->ca, sizeof rig->ca, "%s/pki/public-ca.crt", radius.dir);
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    assert_non_null(strstr(login.text, "certificate"));
    rig_free(rig);
}

static void test_wrong_name_is_refused(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    snprintf(rig->host, sizeof rig->host, "127.0.0.2"); /* the certificate names 127.0.0.1 and localhost */
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    assert_non_null(strstr(login.text, "certificate"));
    rig_free(rig);
}

static void test_foreign_client_is_refused(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    snprintf(rig->certificate, sizeof rig->certificate, "%s/pki/gateway-as-gateway.crt", radius.dir);
    snprintf(rig->key, sizeof rig->key, "%s/pki/gateway-as-gateway.key", radius.dir);
    rig_add(rig, radius.port);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    rig_free(rig);
}

static struct radius_server_config *add_udp(struct rig *rig, char *secret_file)
{
    struct radius_server_config *server = rig_add(rig, radius.port);
    server->transport = RADIUS_UDP;
    server->ca = server->certificate = server->key = NULL;
    server->secret_file = secret_file;
    return server;
}

static void test_udp(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    add_udp(rig, rig->secret);
    rig_start(rig);
    assert_accepted(rig);
    assert_accepted(rig);
    rig_free(rig);
}

static void test_udp_with_wrong_secret(void **state)
{
    (void)state;
    struct login login;
    struct rig *rig = rig_new();
    add_udp(rig, rig->wrong_secret);
    rig_start(rig);
    assert_int_equal(log_in(rig, &login, "alice", "wonder"), TG_UNAVAILABLE);
    assert_non_null(strstr(login.text, "the answer is forged"));
    rig_free(rig);
}

static void test_full_queue(void **state)
{
    (void)state;
    static struct login logins[4];
    struct relay *relay = relay_open(RELAY_IS_SILENT);
    struct rig *rig = rig_new();
    rig->options.queue = 3;
    rig->options.connect_timeout_ms = 60000;
    rig_add(rig, relay->port);
    rig_start(rig);
    for (int i = 0; i < 4; i++) {
        login_init(&logins[i], "alice", "wonder");
        login_start(rig, &logins[i], 60000);
    }
    assert_int_equal(logins[3].count, 1);
    assert_int_equal(logins[3].status, TG_RESOURCE_EXHAUSTED);
    relay_refuse(relay);
    relay_close(relay);
    rig_free(rig);
    for (int i = 0; i < 3; i++)
        assert_int_equal(logins[i].count, 1);
}

static void test_waiting_too_long_for_a_connection(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_IS_SILENT);
    struct rig *rig = rig_new();
    rig->options.connect_timeout_ms = 60000;
    rig_add(rig, relay->port);
    rig_start(rig);
    login_init(&login, "alice", "wonder");
    login_start(rig, &login, 50);
    assert_int_equal(login_wait(&login), TG_DEADLINE_EXCEEDED);
    relay_refuse(relay);
    rig_free(rig);
    relay_close(relay);
}

static void test_closing_answers_who_waits(void **state)
{
    (void)state;
    struct login login;
    struct relay *relay = relay_open(RELAY_FORWARDS);
    struct rig *rig = rig_new();
    rig->options.workers = 1;
    rig_add(rig, relay->port);
    rig_start(rig);
    assert_accepted(rig);
    relay->mode = RELAY_IS_SILENT;
    login_init(&login, "alice", "wonder");
    login_start(rig, &login, 60000);
    pool_close(rig->pool);
    rig->pool = NULL;
    assert_int_equal(login.count, 1);
    assert_int_not_equal(login.status, TG_OK);
    rig_free(rig);
    relay_close(relay);
}

static int ensure(void **state)
{
    (void)state;
    radius_ensure();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, ensure)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_server_that_is_down),
        TEST(test_server_that_comes_back),
        TEST(test_server_that_comes_back_is_noticed),
        TEST(test_restarted_server_fails_nobody),
        TEST(test_idle_connections_that_were_closed),
        TEST(test_connection_closed_by_the_question),
        TEST(test_connections_closed_by_every_question),
        TEST(test_next_server_takes_over),
        TEST(test_first_server_is_preferred),
        TEST(test_silent_server_slows_nobody),
        TEST(test_only_server_is_silent),
        TEST(test_server_that_stops_answering),
        TEST(test_no_answer_in_time),
        TEST(test_half_an_answer),
        TEST(test_open_challenge_moves_to_no_other_server),
        TEST(test_wrong_ca_is_refused),
        TEST(test_wrong_name_is_refused),
        TEST(test_foreign_client_is_refused),
        TEST(test_udp),
        TEST(test_udp_with_wrong_secret),
        TEST(test_full_queue),
        TEST(test_waiting_too_long_for_a_connection),
        TEST(test_closing_answers_who_waits),
    };
    return cmocka_run_group_tests(tests, radius_open, radius_close);
}
