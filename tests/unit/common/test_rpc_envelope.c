/* What a server makes of a request's bytes and a client of an answer's, without sockets. */
#include "rpc_fixture.h"

#include "common/rpc/envelope.h"
#include "proto/rpc.pb-c.h"

static const uint8_t some_id[REQUEST_ID_LEN] = "0123456789abcde";

static void fill_routes(struct rpc_route routes[2])
{
    for (size_t i = 0; i < 2; i++) {
        const struct rpc_method *method = &script_methods[i];
        assert_int_equal(rpc_route_find(method->service, method->name, &routes[i], NULL), TG_OK);
        routes[i].method = method;
    }
}

static Tg__RpcRequest good_request(void)
{
    Tg__RpcRequest r = TG__RPC_REQUEST__INIT;
    r.method = pb_string("tg.Health/Check");
    r.request_id = pb_bytes(some_id, sizeof some_id);
    r.budget_ms = 1000;
    return r;
}

static enum tg_code decode(const Tg__RpcRequest *envelope, struct rpc_incoming *in, struct tg_error *err)
{
    struct rpc_route routes[2];
    struct rpc_incoming local;
    fill_routes(routes);
    size_t len = 0;
    uint8_t *bytes = pb_pack(&envelope->base, &len);
    if (in == NULL)
        in = &local;
    enum tg_code code = rpc_request_decode(routes, 2, RPC_ROLE_GATEWAY, bytes, len, in, err);
    pb_buffer_free(bytes, len);
    if (code != TG_OK)
        assert_null(in->request);
    return code;
}

static void what_is_no_envelope_is_refused(void **state)
{
    (void)state;
    struct rpc_route routes[2];
    struct rpc_incoming in;
    static const uint8_t garbage[] = "\x0a\xff garbage";
    fill_routes(routes);
    assert_int_equal(rpc_request_decode(routes, 2, RPC_ROLE_GATEWAY, garbage, sizeof garbage, &in, NULL),
                     TG_INVALID_ARGUMENT);
    uint8_t *big = calloc(1, RPC_MESSAGE_MAX + 1);
    assert_int_equal(rpc_request_decode(routes, 2, RPC_ROLE_GATEWAY, big, RPC_MESSAGE_MAX + 1, &in, NULL),
                     TG_INVALID_ARGUMENT);
    free(big);
}

static void a_request_id_has_16_bytes(void **state)
{
    (void)state;
    Tg__RpcRequest r = good_request();
    r.request_id.len = 15;
    assert_int_equal(decode(&r, NULL, NULL), TG_INVALID_ARGUMENT);
    r.request_id = pb_bytes("0123456789abcdefg", 17);
    assert_int_equal(decode(&r, NULL, NULL), TG_INVALID_ARGUMENT);
    r.request_id.len = 0;
    assert_int_equal(decode(&r, NULL, NULL), TG_INVALID_ARGUMENT);
}

static void a_trace_id_has_32_hex_digits_or_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"0", "0123456789abcdef0123456789abcde",
                                      "0123456789abcdef0123456789abcdefa", "0123456789abcdef0123456789abcdeg",
                                      "0123456789ABCDEF0123456789abcdef"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Tg__RpcRequest r = good_request();
        r.trace_id = pb_string(bad[i]);
        assert_int_equal(decode(&r, NULL, NULL), TG_INVALID_ARGUMENT);
    }
}

static void method_role_payload_and_budget_are_checked_in_this_order(void **state)
{
    (void)state;
    static const uint8_t malformed[] = {0x0a, 0x7f};
    struct tg_error err = {0};
    Tg__RpcRequest r = good_request();
    r.payload = pb_bytes(malformed, sizeof malformed);
    r.budget_ms = 0;
    r.method = pb_string("tg.Health/Chek");
    assert_int_equal(decode(&r, NULL, &err), TG_UNIMPLEMENTED);
    r.method = pb_string("tg.Audit/Verify");
    assert_int_equal(decode(&r, NULL, &err), TG_PERMISSION_DENIED);
    r.method = pb_string("tg.Health/Check");
    assert_int_equal(decode(&r, NULL, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "tg.Health/Check"));
    r.payload.len = 0;
    assert_int_equal(decode(&r, NULL, &err), TG_DEADLINE_EXCEEDED);
}

static void a_long_unknown_method_does_not_flood_the_text(void **state)
{
    (void)state;
    char method[4000];
    struct tg_error err = {0};
    memset(method, 'm', sizeof method - 1);
    method[sizeof method - 1] = '\0';
    Tg__RpcRequest r = good_request();
    r.method = method;
    assert_int_equal(decode(&r, NULL, &err), TG_UNIMPLEMENTED);
    assert_true(strlen(err.text) < 200);
}

static void a_good_request_is_taken_apart(void **state)
{
    (void)state;
    struct rpc_incoming in;
    Tg__RpcRequest r = good_request();
    r.trace_id = pb_string("0123456789abcdef0123456789abcdef");
    r.payload = pb_bytes("\x0a\x02hi", 4);
    r.budget_ms = UINT32_MAX;
    assert_int_equal(decode(&r, &in, NULL), TG_OK);
    assert_string_equal(((const Tg__HealthCheckRequest *)(const void *)in.request)->service, "hi");
    assert_string_equal(in.trace, "0123456789abcdef0123456789abcdef");
    assert_memory_equal(in.request_id, some_id, REQUEST_ID_LEN);
    assert_int_equal(in.budget_ms, RPC_BUDGET_MAX_MS);
    assert_ptr_equal(in.route->method, &script_methods[0]);
    pb_free(in.request);
}

static void requests_and_answers_survive_encoding(void **state)
{
    (void)state;
    struct rpc_route routes[2];
    struct rpc_incoming in;
    fill_routes(routes);
    nng_msg *m = rpc_request_encode("tg.Health/Check", some_id, "", 5, (const uint8_t *)"\x0a\x02hi", 4);
    assert_non_null(m);
    assert_int_equal(
        rpc_request_decode(routes, 2, RPC_ROLE_SERVICE, nng_msg_body(m), nng_msg_len(m), &in, NULL), TG_OK);
    assert_int_equal(in.budget_ms, 5);
    pb_free(in.request);
    rpc_message_free(m);

    Tg__HealthCheckResponse response = TG__HEALTH_CHECK_RESPONSE__INIT;
    struct rpc_answer answer;
    response.uptime_s = 99;
    m = rpc_answer_encode(TG_OK, "", &response.base);
    assert_int_equal(
        rpc_answer_decode(response.base.descriptor, nng_msg_body(m), nng_msg_len(m), &answer, NULL), TG_OK);
    assert_int_equal(answer.status, TG_OK);
    assert_int_equal(((const Tg__HealthCheckResponse *)(const void *)answer.response)->uptime_s, 99);
    pb_free(answer.response);
    rpc_message_free(m);
}

static enum tg_code decode_answer(uint32_t status, const char *payload, size_t len, struct rpc_answer *answer)
{
    Tg__RpcResponse envelope = TG__RPC_RESPONSE__INIT;
    envelope.status = status;
    envelope.message = pb_string("because");
    envelope.payload = pb_bytes(payload, len);
    size_t size = 0;
    uint8_t *bytes = pb_pack(&envelope.base, &size);
    enum tg_code code = rpc_answer_decode(&tg__health_check_response__descriptor, bytes, size, answer, NULL);
    pb_buffer_free(bytes, size);
    return code;
}

static void a_strange_answer_is_data_loss(void **state)
{
    (void)state;
    struct rpc_answer answer;
    assert_int_equal(decode_answer(TG_CODE_COUNT, "", 0, &answer), TG_DATA_LOSS);
    assert_int_equal(decode_answer(UINT32_MAX, "", 0, &answer), TG_DATA_LOSS);
    assert_int_equal(decode_answer(TG_OK, "\x12\x7f", 2, &answer), TG_DATA_LOSS);
    assert_int_equal(
        rpc_answer_decode(&tg__health_check_response__descriptor, (const uint8_t *)"\xff", 1, &answer, NULL),
        TG_DATA_LOSS);
    assert_null(answer.response);
}

static void a_failure_has_a_text_and_no_response(void **state)
{
    (void)state;
    struct rpc_answer answer;
    assert_int_equal(decode_answer(TG_NOT_FOUND, "\x12\x7f", 2, &answer), TG_OK);
    assert_int_equal(answer.status, TG_NOT_FOUND);
    assert_string_equal(answer.text, "because");
    assert_null(answer.response);
}

static void what_is_too_large_is_not_encoded(void **state)
{
    (void)state;
    uint8_t *big = calloc(1, RPC_MESSAGE_MAX);
    assert_null(rpc_request_encode("m", some_id, "", 1, big, RPC_MESSAGE_MAX));
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_envelope_is_refused),
        cmocka_unit_test(a_request_id_has_16_bytes),
        cmocka_unit_test(a_trace_id_has_32_hex_digits_or_none),
        cmocka_unit_test(method_role_payload_and_budget_are_checked_in_this_order),
        cmocka_unit_test(a_long_unknown_method_does_not_flood_the_text),
        cmocka_unit_test(a_strange_answer_is_data_loss),
        cmocka_unit_test(what_is_too_large_is_not_encoded),
        cmocka_unit_test(a_good_request_is_taken_apart),
        cmocka_unit_test(requests_and_answers_survive_encoding),
        cmocka_unit_test(a_failure_has_a_text_and_no_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
