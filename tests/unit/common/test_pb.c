#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/pb.h"
#include "proto/audit.pb-c.h"
#include "proto/rpc.pb-c.h"

static void garbage_is_refused(void **state)
{
    (void)state;
    static const uint8_t cut_off[] = {0x0a, 0x10, 'x'};              /* says 16 bytes, has 1 */
    static const uint8_t bad_type[] = {0x0f};                        /* wire type 7 */
    static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff}; /* a tag that never ends */
    static const uint8_t huge[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f};
    assert_null(pb_unpack(&tg__rpc_request__descriptor, cut_off, sizeof cut_off));
    assert_null(pb_unpack(&tg__rpc_request__descriptor, bad_type, sizeof bad_type));
    assert_null(pb_unpack(&tg__rpc_request__descriptor, endless, sizeof endless));
    assert_null(pb_unpack(&tg__rpc_request__descriptor, huge, sizeof huge));
    assert_null(pb_unpack(&tg__rpc_request__descriptor, NULL, SIZE_MAX));
}

/* Two bytes on the wire become a struct of some hundred: the bound stops what would take far more than it
 * sent. */
static void a_message_that_would_explode_is_refused(void **state)
{
    (void)state;
    enum { EVENTS = 50000 };
    uint8_t *bytes = calloc(EVENTS, 2);
    for (size_t i = 0; i < EVENTS; i++)
        bytes[2 * i] = 0x0a; /* events, of no length */
    assert_null(pb_unpack(&tg__append_request__descriptor, bytes, (size_t)EVENTS * 2));
    free(bytes);
}

static void a_batch_of_short_events_fits(void **state)
{
    (void)state;
    enum { EVENTS = 256 };
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("login.accepted");
    event.service = pb_string("gateway");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.time_us = 1763842451000000;
    Tg__Event *events[EVENTS];
    for (size_t i = 0; i < EVENTS; i++)
        events[i] = &event;
    Tg__AppendRequest append = TG__APPEND_REQUEST__INIT;
    append.n_events = EVENTS;
    append.events = events;
    size_t len = 0;
    uint8_t *bytes = pb_pack(&append.base, &len);
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *back = pb_unpack(&tg__append_request__descriptor, bytes, len);
    assert_non_null(back);
    assert_int_equal(((const Tg__AppendRequest *)(const void *)back)->n_events, EVENTS);
    pb_buffer_free(bytes, len);
}

static void what_is_packed_comes_back(void **state)
{
    (void)state;
    Tg__RpcRequest request = TG__RPC_REQUEST__INIT;
    request.method = pb_string("tg.KeyStore/Spend");
    request.request_id = pb_bytes("0123456789abcdef", 16);
    request.budget_ms = 77;
    size_t len = 0;
    uint8_t *bytes = pb_pack(&request.base, &len);
    assert_non_null(bytes);
    ProtobufCMessage *message = pb_unpack(&tg__rpc_request__descriptor, bytes, len);
    const Tg__RpcRequest *back = (const void *)message;
    assert_non_null(back);
    assert_string_equal(back->method, "tg.KeyStore/Spend");
    assert_int_equal(back->request_id.len, 16);
    assert_memory_equal(back->request_id.data, "0123456789abcdef", 16);
    assert_int_equal(back->budget_ms, 77);
    pb_free(message);
    pb_buffer_free(bytes, len);
}

static void nothing_at_all_is_an_empty_message(void **state)
{
    (void)state;
    ProtobufCMessage *message = pb_unpack(&tg__rpc_request__descriptor, NULL, 0);
    assert_non_null(message);
    assert_string_equal(((const Tg__RpcRequest *)(const void *)message)->method, "");
    pb_free(message);
    pb_free(NULL);
    size_t len = 1;
    Tg__RpcRequest empty = TG__RPC_REQUEST__INIT;
    uint8_t *bytes = pb_pack(&empty.base, &len);
    assert_non_null(bytes);
    assert_int_equal(len, 0);
    pb_buffer_free(bytes, len);
    pb_buffer_free(NULL, 0);
}

static void a_string_may_be_null(void **state)
{
    (void)state;
    assert_string_equal(pb_string(NULL), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_message_that_would_explode_is_refused),
        cmocka_unit_test(a_batch_of_short_events_fits),
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(nothing_at_all_is_an_empty_message),
        cmocka_unit_test(a_string_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
