/* Streams' bookkeeping: everything a hostile peer may try with credit and order, then the ordinary course. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/protocol/stream.h"

enum { WINDOW = STREAM_WINDOW_MIN };

static struct stream_flow open_stream(void)
{
    struct stream_flow flow;
    stream_init(&flow, WINDOW);
    assert_int_equal(stream_opened(&flow, NULL), TG_OK);
    return flow;
}

static void nothing_may_pass_before_opened(void **state)
{
    (void)state;
    struct stream_flow flow;
    stream_init(&flow, WINDOW);
    assert_int_equal(stream_may_send(&flow, 1), 0);
    assert_int_equal(stream_received(&flow, 1, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_credit(&flow, 1, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_close(&flow, TG_OK, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_close(&flow, TG_CANCELLED, NULL), TG_OK);
    assert_int_equal(flow.phase, STREAM_ENDED);
}

static void opened_twice_is_refused(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    assert_int_equal(stream_opened(&flow, NULL), TG_OUT_OF_RANGE);
}

static void data_over_the_credit_is_refused(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    struct tg_error err;
    assert_int_equal(stream_received(&flow, 0, &err), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received(&flow, WINDOW - 1, &err), TG_OK);
    assert_int_equal(stream_received(&flow, 2, &err), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received(&flow, 1, &err), TG_OK);
    assert_int_equal(stream_received(&flow, 1, &err), TG_OUT_OF_RANGE);
}

static void credit_must_not_overflow(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    assert_int_equal(stream_received_credit(&flow, 0, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_credit(&flow, UINT32_MAX, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_credit(&flow, STREAM_WINDOW_MAX - WINDOW + 1, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(flow.send_credit, WINDOW);
    assert_int_equal(stream_received_credit(&flow, STREAM_WINDOW_MAX - WINDOW, NULL), TG_OK);
    assert_int_equal(flow.send_credit, STREAM_WINDOW_MAX);
}

static void nothing_follows_a_close(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    assert_int_equal(stream_received_close(&flow, TG_OK, NULL), TG_OK);
    assert_int_equal(stream_received(&flow, 1, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received_close(&flow, TG_OK, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_may_send(&flow, 10), 10); /* the other direction goes on */
    stream_sent_close(&flow);
    assert_int_equal(stream_may_send(&flow, 10), 0);
    assert_int_equal(flow.phase, STREAM_ENDED);
}

static void a_reset_ends_both_directions(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    assert_int_equal(stream_received_close(&flow, TG_UNAVAILABLE, NULL), TG_OK);
    assert_int_equal(flow.phase, STREAM_ENDED);
    assert_int_equal(stream_may_send(&flow, 10), 0);
}

static void sending_is_bounded_by_credit_and_frame(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    size_t sent = 0;
    for (size_t n; (n = stream_may_send(&flow, SIZE_MAX)) > 0; sent += n) {
        assert_true(n <= FRAME_PAYLOAD_MAX);
        stream_sent(&flow, n);
    }
    assert_int_equal(sent, WINDOW);
    assert_int_equal(stream_received_credit(&flow, 5, NULL), TG_OK);
    assert_int_equal(stream_may_send(&flow, 100), 5);
    assert_int_equal(stream_may_send(&flow, 3), 3);
}

static void credit_goes_back_in_quarters(void **state)
{
    (void)state;
    struct stream_flow flow = open_stream();
    assert_int_equal(stream_received(&flow, WINDOW, NULL), TG_OK);
    assert_int_equal(stream_give_back(&flow, WINDOW / 4 - 1), 0);
    assert_int_equal(stream_give_back(&flow, 1), WINDOW / 4);
    assert_int_equal(stream_received(&flow, WINDOW / 4 + 1, NULL), TG_OUT_OF_RANGE);
    assert_int_equal(stream_received(&flow, WINDOW / 4, NULL), TG_OK);
    assert_int_equal(stream_received_close(&flow, TG_OK, NULL), TG_OK);
    assert_int_equal(stream_give_back(&flow, WINDOW), 0); /* the peer sends no more: nothing to give */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_may_pass_before_opened),
        cmocka_unit_test(opened_twice_is_refused),
        cmocka_unit_test(data_over_the_credit_is_refused),
        cmocka_unit_test(credit_must_not_overflow),
        cmocka_unit_test(nothing_follows_a_close),
        cmocka_unit_test(a_reset_ends_both_directions),
        cmocka_unit_test(sending_is_bounded_by_credit_and_frame),
        cmocka_unit_test(credit_goes_back_in_quarters),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
