/* One call, one answer: every status, roles, bounds, and what travels with a call. Over inproc and ipc. */
#include "rpc_fixture.h"

static void every_status_arrives_with_its_text(void **state)
{
    for (int code = TG_CANCELLED; code < TG_CODE_COUNT; code++) {
        char script[32];
        struct tg_error err = {0};
        snprintf(script, sizeof script, "fail %d", code);
        assert_int_equal(ask(*state, script, 5000, NULL, &err), code);
        assert_int_equal(err.code, code);
        assert_string_equal(err.text, "test service: as asked");
    }
}

static enum tg_code call_audit(struct rig *rig, const char *method, const ProtobufCMessage *message,
                               struct tg_error *err)
{
    struct rpc_request request = {
        .service = &tg__audit__descriptor, .method = method, .message = message, .budget_ms = 5000};
    ProtobufCMessage *response = NULL;
    enum tg_code code = rpc_call_wait(rig->client, &request, &response, err);
    assert_null(response);
    return code;
}

static void a_method_of_another_role_is_denied(void **state)
{
    Tg__AuditVerifyRequest verify = TG__AUDIT_VERIFY_REQUEST__INIT;
    struct tg_error err = {0};
    assert_int_equal(call_audit(*state, "Verify", &verify.base, &err), TG_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, "tg.Audit/Verify"));
}

static void a_method_that_is_not_served_is_unimplemented(void **state)
{
    Tg__QueryRequest query = TG__QUERY_REQUEST__INIT;
    struct tg_error err = {0};
    assert_int_equal(call_audit(*state, "Query", &query.base, &err), TG_UNIMPLEMENTED);
    assert_non_null(strstr(err.text, "tg.Audit/Query"));
}

static void a_wrong_request_is_refused_before_it_is_sent(void **state)
{
    struct rig *rig = *state;
    Tg__QueryRequest query = TG__QUERY_REQUEST__INIT;
    Tg__HealthCheckRequest message;
    struct rpc_request good = script_request(&message, "echo x", 1000), bad;
    ProtobufCMessage *response = NULL;

    bad = good, bad.budget_ms = 0;
    assert_int_equal(rpc_call_wait(rig->client, &bad, &response, NULL), TG_INVALID_ARGUMENT);
    bad = good, bad.budget_ms = RPC_BUDGET_MAX_MS + 1;
    assert_int_equal(rpc_call_wait(rig->client, &bad, &response, NULL), TG_INVALID_ARGUMENT);
    bad = good, bad.message = &query.base;
    assert_int_equal(rpc_call_wait(rig->client, &bad, &response, NULL), TG_INVALID_ARGUMENT);
    bad = good, bad.trace = "abc";
    assert_int_equal(rpc_call_wait(rig->client, &bad, &response, NULL), TG_INVALID_ARGUMENT);
    bad = good, bad.method = "Chek";
    assert_int_equal(rpc_call_wait(rig->client, &bad, &response, NULL), TG_INTERNAL);
    assert_null(response);
    assert_int_equal(rig->script.handled, 0);
}

static void messages_have_a_largest_size(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    char *script = calloc(1, RPC_MESSAGE_MAX + 8);
    memset(script, 'x', RPC_MESSAGE_MAX);
    memcpy(script, "echo ", 5);
    assert_int_equal(ask(rig, script, 5000, NULL, &err), TG_RESOURCE_EXHAUSTED);
    script[RPC_MESSAGE_MAX - 300] = '\0';
    assert_int_equal(ask(rig, script, 5000, script + 5, &err), TG_OK);
    free(script);
    assert_int_equal(ask(rig, "big 300000", 5000, NULL, &err), TG_INTERNAL);
    assert_int_equal(ask(rig, "echo after", 5000, "after", &err), TG_OK);
}

static void the_answer_arrives(void **state)
{
    assert_int_equal(ask(*state, "echo hello", 5000, "hello", NULL), TG_OK);
    assert_int_equal(ask(*state, "echo ", 5000, "", NULL), TG_OK);
}

static void trace_request_id_role_and_budget_travel(void **state)
{
    struct rig *rig = *state;
    static const char trace[] = "00112233445566778899aabbccddeeff";
    static const uint8_t id[REQUEST_ID_LEN] = "an id of 16 byte";
    Tg__HealthCheckRequest message;
    struct rpc_request request = script_request(&message, "echo x", 60000);
    request.trace = trace;
    request.request_id = id;
    ProtobufCMessage *response = NULL;
    assert_int_equal(rpc_call_wait(rig->client, &request, &response, NULL), TG_OK);
    rpc_free_response(response);
    assert_string_equal(rig->script.trace, trace);
    assert_memory_equal(rig->script.ids[0], id, sizeof id);
    assert_int_equal(rig->script.role, RPC_ROLE_GATEWAY);
    assert_in_range(rig->script.remaining_ms, 1, 60000);
}

static void every_call_has_its_own_request_id(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "echo a", 5000, "a", NULL), TG_OK);
    assert_int_equal(ask(rig, "echo b", 5000, "b", NULL), TG_OK);
    assert_memory_not_equal(rig->script.ids[0], rig->script.ids[1], REQUEST_ID_LEN);
    assert_string_equal(rig->script.trace, "");
}

static void a_table_with_a_wrong_name_is_refused(void **state)
{
    (void)state;
    static const struct rpc_method wrong[] = {
        {&tg__health__descriptor, "Chek", RPC_ROLE_ANY, follow_script},
        {NULL, NULL, 0, NULL},
    };
    struct rpc_server *server = NULL;
    struct tg_error err = {0};
    assert_int_equal(rpc_server_open(&server, wrong, NULL, 1, &err), TG_INTERNAL);
    assert_non_null(strstr(err.text, "Chek"));
    assert_int_equal(rpc_server_open(&server, script_methods, NULL, 0, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(rpc_server_open(&server, script_methods, NULL, 4097, &err), TG_INVALID_ARGUMENT);
    assert_null(server);
}

static void one_server_has_listeners_for_several_roles(void **state)
{
    (void)state;
    struct rig *rig = rig_new("inproc");
    Tg__AuditVerifyRequest verify = TG__AUDIT_VERIFY_REQUEST__INIT;
    rig_serve(rig, 4);
    snprintf(rig->address, sizeof rig->address, "ipc://%s/operator", rig->dir);
    assert_int_equal(rig_listen(rig, 3, NULL), TG_OK);
    rig_connect(rig);
    assert_int_equal(call_audit(rig, "Verify", &verify.base, NULL), TG_ABORTED);
    assert_int_equal(ask(rig, "echo x", 5000, NULL, NULL), TG_PERMISSION_DENIED);
    rig_free(rig);
}

#define OVER_IPC(name) cmocka_unit_test_setup_teardown(name, rig_setup_ipc, rig_teardown)
#define OVER_INPROC(name) cmocka_unit_test_setup_teardown(name, rig_setup_inproc, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_IPC(every_status_arrives_with_its_text),
        OVER_IPC(a_method_of_another_role_is_denied),
        OVER_IPC(a_method_that_is_not_served_is_unimplemented),
        OVER_IPC(a_wrong_request_is_refused_before_it_is_sent),
        OVER_IPC(messages_have_a_largest_size),
        OVER_IPC(the_answer_arrives),
        OVER_IPC(trace_request_id_role_and_budget_travel),
        OVER_IPC(every_call_has_its_own_request_id),
        OVER_INPROC(every_status_arrives_with_its_text),
        OVER_INPROC(messages_have_a_largest_size),
        OVER_INPROC(the_answer_arrives),
        OVER_INPROC(trace_request_id_role_and_budget_travel),
        cmocka_unit_test(a_table_with_a_wrong_name_is_refused),
        cmocka_unit_test(one_server_has_listeners_for_several_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
