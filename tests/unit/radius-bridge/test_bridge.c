/* The service as its callers see it: its configuration, what it refuses to ask, and a login over RPC. */
#include "tests/unit/radius-bridge/radius_fixture.h"

#include "services/radius-bridge/radcli_words.h"
#include "services/radius-bridge/radius_bridge.h"

static char nobody[] = "inproc://nobody-keeps-this-log";
static char *audit_endpoints[] = {nobody};

static struct bridge_config config_of(struct rig *rig)
{
    return (struct bridge_config){.servers = {rig->servers, rig->options.server_count},
                                  .workers = 2,
                                  .queue = 16,
                                  .response_timeout = 60000,
                                  .connect_timeout = 2000,
                                  .dead_time = 60000,
                                  .audit = {.first.endpoints = {audit_endpoints, 1}, .must_ack = 1}};
}

static void assert_refused(const struct bridge_config *config, const char *text)
{
    void *bridge = NULL;
    struct tg_error err = {0};
    assert_int_equal(bridge_open(config, &bridge, &err), TG_INVALID_ARGUMENT);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void test_udp_is_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct radius_server_config *server = rig_add(rig, radius.port);
    server->transport = RADIUS_UDP;
    server->secret_file = rig->secret;
    struct bridge_config config = config_of(rig);
    assert_refused(&config, "CVE-2024-3596");
    config.allow_insecure_udp = true;
    void *bridge = NULL;
    assert_int_equal(bridge_open(&config, &bridge, NULL), TG_OK);
    bridge_close(bridge);
    server->secret_file = NULL;
    assert_refused(&config, "needs secret_file");
    rig_free(rig);
}

static void test_bad_servers_are_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct radius_server_config *server = rig_add(rig, radius.port);
    struct bridge_config config = config_of(rig);
    server->ca = NULL;
    assert_refused(&config, "needs ca, certificate and key");
    server->ca = rig->ca;
    server->secret_file = rig->secret;
    assert_refused(&config, "no secret_file");
    server->secret_file = NULL;
    snprintf(rig->host, sizeof rig->host, "a:1:psk@x@y");
    assert_refused(&config, "host is a DNS name");
    snprintf(rig->host, sizeof rig->host, "127.0.0.1");
    rig_add(rig, radius.port)->name = server->name;
    config = config_of(rig);
    assert_refused(&config, "two RADIUS servers are called radius-1");
    rig_free(rig);
}

static void assert_bad_request(const Tg__LoginRequest *request, const char *text)
{
    struct tg_error err = {0};
    assert_int_equal(radius_request_check(request, &err), TG_INVALID_ARGUMENT);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    char long_text[RADIUS_VALUE_MAX + 2];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    struct login login;
    Tg__LoginRequest *request = &login.request;
    login_init(&login, "", "wonder");
    assert_bad_request(request, "name is missing");
    login_init(&login, "alice\n", "wonder");
    assert_bad_request(request, "user");
    login_init(&login, long_text, "wonder");
    assert_bad_request(request, "user");
    login_init(&login, "alice", long_text);
    assert_bad_request(request, "at most 112 bytes");
    login_init(&login, "alice", "");
    request->password = pb_bytes("won\0der", 7);
    assert_bad_request(request, "zero byte");
    login_init(&login, "alice", "wonder");
    request->state = pb_bytes("x", 1);
    assert_bad_request(request, "without the server");
    request->state = pb_bytes(long_text, sizeof long_text - 1);
    assert_bad_request(request, "state is longer");
    login_init(&login, "alice", "wonder");
    request->calling_station = pb_string(long_text);
    assert_bad_request(request, "calling_station");
    login_init(&login, "alice", "wonder");
    assert_int_equal(radius_request_check(request, NULL), TG_OK);
}

static int service_role(void)
{
    int i = 0;
    while (strcmp(rpc_role_names[i], "service") != 0)
        i++;
    return i;
}

static enum tg_code call_login(struct rpc_client *client, const char *password, ProtobufCMessage **response,
                               struct tg_error *err)
{
    struct login login;
    login_init(&login, "alice", password);
    struct rpc_request request = {.service = &tg__radius_bridge__descriptor,
                                  .method = "Login",
                                  .message = &login.request.base,
                                  .budget_ms = 30000};
    return rpc_call_wait(client, &request, response, err);
}

static void test_login_over_rpc(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    rig_add(rig, radius.port);
    struct bridge_config config = config_of(rig);
    void *bridge = NULL;
    struct rpc_server *server = NULL;
    struct rpc_client *client = NULL;
    char address[] = "inproc://radius-bridge-test";
    char *endpoints[] = {address};
    struct rpc_listener listener = {.address = address, .role = service_role()};
    struct rpc_peer peer = {.endpoints = {endpoints, 1}};
    assert_int_equal(bridge_open(&config, &bridge, NULL), TG_OK);
    assert_int_equal(rpc_server_open(&server, bridge_methods, bridge, 8, NULL), TG_OK);
    assert_int_equal(bridge_start(bridge, NULL), TG_OK);
    assert_int_equal(rpc_server_listen(server, &listener, NULL), TG_OK);
    assert_int_equal(rpc_client_open(&client, "bridge", &peer, NULL), TG_OK);

    struct tg_error err = {0};
    ProtobufCMessage *message = NULL;
    char long_password[RADIUS_PASSWORD_MAX + 2];
    memset(long_password, 'x', sizeof long_password);
    long_password[sizeof long_password - 1] = '\0';
    assert_int_equal(call_login(client, long_password, &message, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(call_login(client, "wonder", &message, &err), TG_OK);
    const Tg__LoginResponse *response = (const void *)message;
    assert_int_equal(response->outcome, TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
    assert_string_equal(response->filter_id, "core-ops");
    assert_int_equal(response->session_timeout_s, 3600);
    assert_int_equal(response->klass.len, 3);
    assert_string_equal(response->server, "");
    rpc_free_response(message);
    assert_null(bridge_not_serving(bridge));

    rpc_client_close(client);
    rpc_server_close(server);
    bridge_close(bridge);
    rig_free(rig);
}

/* What radcli tells syslog, we hear. */
void syslog(int priority, const char *format, ...);

static void test_words_of_radcli(void **state)
{
    (void)state;
    radcli_words_clear();
    assert_string_equal(radcli_words("nothing"), "nothing");
    syslog(7, "radcli: init_session: debugging");
    syslog(3, "radcli: init_session: init_session: cannot connect to %s", "radius: down");
    syslog(2, "radcli: rc_apply_config: error initializing tls");
    assert_string_equal(radcli_words("nothing"), "cannot connect to radius: down");
    assert_false(radcli_found_forged_reply());
    for (int i = 0; i < 100; i++)
        syslog(3, "radcli: rc_check_reply: rc_check_reply: received non-matching id");
    syslog(3, "radcli: rc_check_reply: rc_check_reply: received invalid reply digest from RADIUS server");
    assert_true(radcli_found_forged_reply()); /* however much was said before */
    radcli_words_clear();
    assert_false(radcli_found_forged_reply());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_is_refused),           cmocka_unit_test(test_bad_servers_are_refused),
        cmocka_unit_test(test_bad_requests_are_refused), cmocka_unit_test(test_login_over_rpc),
        cmocka_unit_test(test_words_of_radcli),
    };
    return cmocka_run_group_tests(tests, radius_open, radius_close);
}
