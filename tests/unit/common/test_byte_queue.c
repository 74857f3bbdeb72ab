/* Bytes that wait: bounds first, then order across growing and moving. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/byte_queue.h"

static void over_the_bound_nothing_changes(void **state)
{
    (void)state;
    struct byte_queue queue;
    byte_queue_init(&queue, 10);
    assert_true(byte_queue_append(&queue, "12345678", 8));
    assert_false(byte_queue_append(&queue, "abc", 3));
    assert_int_equal(byte_queue_len(&queue), 8);
    byte_queue_take(&queue, 1);
    assert_true(byte_queue_append(&queue, "abc", 3));
    assert_memory_equal(byte_queue_front(&queue), "2345678abc", 10);
    byte_queue_fini(&queue);
}

static void empty_queues_hold_no_memory(void **state)
{
    (void)state;
    struct byte_queue queue;
    byte_queue_init(&queue, 10);
    assert_true(byte_queue_append(&queue, "", 0));
    assert_true(byte_queue_append(&queue, "1234", 4));
    byte_queue_take(&queue, 4);
    assert_null(queue.bytes);
    assert_int_equal(queue.max, 10);
}

/* A counting byte stream in and out, with ever different pieces: what comes out must count on. */
static void order_is_kept(void **state)
{
    (void)state;
    struct byte_queue queue;
    byte_queue_init(&queue, 4096);
    uint8_t next_in = 0, next_out = 0;
    for (size_t round = 1; round < 5000; round++) {
        uint8_t piece[200];
        size_t in = round * 7 % sizeof piece;
        for (size_t i = 0; i < in; i++)
            piece[i] = (uint8_t)(next_in + i);
        if (byte_queue_append(&queue, piece, in))
            next_in = (uint8_t)(next_in + in);
        size_t out = round * 13 % 190;
        if (out > byte_queue_len(&queue))
            out = byte_queue_len(&queue);
        for (size_t i = 0; i < out; i++)
            assert_int_equal(byte_queue_front(&queue)[i], (uint8_t)(next_out + i));
        next_out = (uint8_t)(next_out + out);
        byte_queue_take(&queue, out);
    }
    byte_queue_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_the_bound_nothing_changes),
        cmocka_unit_test(empty_queues_hold_no_memory),
        cmocka_unit_test(order_is_kept),
    };
    return cmocka_run_group_tests_name("byte_queue", tests, NULL, NULL);
}
