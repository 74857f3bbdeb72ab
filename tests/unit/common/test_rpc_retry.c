/* Deadlines, retries and recovery: what is tried again, what is not, and how it ends. */
#include "rpc_fixture.h"

static unsigned handled(struct rig *rig)
{
    pthread_mutex_lock(&rig->script.lock);
    unsigned count = rig->script.handled;
    pthread_mutex_unlock(&rig->script.lock);
    return count;
}

static void refuse_next(struct rig *rig, unsigned count)
{
    pthread_mutex_lock(&rig->script.lock);
    rig->script.refusals = count;
    pthread_mutex_unlock(&rig->script.lock);
}

static void answer_all_held(struct rig *rig)
{
    for (;;) {
        pthread_mutex_lock(&rig->script.lock);
        struct rpc_call *call =
            rig->script.held_count > 0 ? rig->script.held[--rig->script.held_count] : NULL;
        pthread_mutex_unlock(&rig->script.lock);
        if (call == NULL)
            return;
        reply_text(call, "late");
    }
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rig_stop(rig);
    answer_all_held(rig);
    return rig_teardown(state);
}

static void an_answer_that_never_comes_is_deadline_exceeded(void **state)
{
    struct tg_error err = {0};
    assert_int_equal(ask(*state, "hold", 300, NULL, &err), TG_DEADLINE_EXCEEDED);
    assert_memory_equal(err.text, "test service: ", 14);
    assert_int_equal(handled(*state), 1);
}

static void the_deadline_spans_all_attempts(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_now_ms();
    refuse_next(rig, 1);
    assert_int_equal(ask(rig, "hold", 400, NULL, NULL), TG_DEADLINE_EXCEEDED);
    assert_int_equal(handled(rig), 2);
    assert_in_range(rig->script.remaining_ms, 0, 400);
    assert_true(clock_now_ms() - start >= 400);
}

static void what_was_perhaps_processed_is_not_tried_again(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    ask_later(rig, "hold", 20000, false, &p);
    await_held(&rig->script, 1);
    rig_stop(rig);
    rig_serve(rig, 4);
    assert_int_equal(pending_wait(&p), TG_UNKNOWN);
    assert_int_equal(ask(rig, "echo x", 20000, "x", NULL), TG_OK);
    assert_int_equal(handled(rig), 2);
}

static void an_idempotent_call_is_tried_again_under_the_same_id(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    ask_later(rig, "hold", 60000, true, &p);
    await_held(&rig->script, 1);
    rig_stop(rig);
    rig_serve(rig, 4);
    await_held(&rig->script, 2);
    assert_memory_equal(rig->script.ids[0], rig->script.ids[1], REQUEST_ID_LEN);
    reply_text(take_held(&rig->script), "second");
    assert_int_equal(pending_wait(&p), TG_OK);
}

/* UNAVAILABLE means "never processed": it would be a lie after a first attempt whose answer was lost. */
static void a_call_that_was_perhaps_processed_never_ends_as_unavailable(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    ask_later(rig, "hold", 60000, true, &p);
    await_held(&rig->script, 1);
    rig_stop(rig);
    assert_int_equal(pending_wait(&p), TG_UNKNOWN);
}

static void other_failures_are_not_tried_again(void **state)
{
    static const enum tg_code codes[] = {TG_INTERNAL, TG_ABORTED, TG_RESOURCE_EXHAUSTED, TG_DEADLINE_EXCEEDED,
                                         TG_UNKNOWN};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char script[16];
        snprintf(script, sizeof script, "fail %d", (int)codes[i]);
        assert_int_equal(ask(*state, script, 20000, NULL, NULL), codes[i]);
    }
    assert_int_equal(handled(*state), sizeof codes / sizeof *codes);
}

static void unavailable_is_tried_four_times_under_one_id(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    refuse_next(rig, 100);
    assert_int_equal(ask(rig, "echo x", 60000, NULL, &err), TG_UNAVAILABLE);
    assert_string_equal(err.text, "test service: not now");
    assert_int_equal(handled(rig), RPC_ATTEMPTS_MAX);
    for (unsigned i = 1; i < RPC_ATTEMPTS_MAX; i++)
        assert_memory_equal(rig->script.ids[0], rig->script.ids[i], REQUEST_ID_LEN);
}

static void unavailable_three_times_is_no_failure(void **state)
{
    refuse_next(*state, RPC_ATTEMPTS_MAX - 1);
    assert_int_equal(ask(*state, "echo x", 60000, "x", NULL), TG_OK);
    assert_int_equal(handled(*state), RPC_ATTEMPTS_MAX);
}

static void a_server_that_keeps_refusing_is_left_alone_for_a_moment(void **state)
{
    struct rig *rig = *state;
    refuse_next(rig, 1000000);
    for (int i = 0; i < 40; i++)
        assert_int_equal(ask(rig, "echo x", 60000, NULL, NULL), TG_UNAVAILABLE);
    assert_true(handled(rig) < 40 * RPC_ATTEMPTS_MAX / 2);
    refuse_next(rig, 0);
    while (
        !rpc_client_ready(rig->client)) /* by itself: who asks first whether it is ready must get his probe */
        usleep(10000);
    while (ask(rig, "echo x", 60000, "x", NULL) != TG_OK)
        usleep(10000);
    assert_true(rpc_client_ready(rig->client));
}

static void nobody_there_is_unavailable(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    rig_stop_and_lose(rig);
    assert_int_equal(ask(rig, "echo x", 60000, NULL, &err), TG_UNAVAILABLE);
    assert_memory_equal(err.text, "test service: ", 14);
    assert_false(rpc_client_ready(rig->client));
    assert_int_equal(handled(rig), 0);
}

static void a_server_that_comes_late_is_waited_for(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    rig_stop_and_lose(rig);
    ask_later(rig, "echo x", 60000, false, &p);
    rig_serve(rig, 4);
    assert_int_equal(pending_wait(&p), TG_OK);
}

static void a_client_survives_many_restarts(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 10; i++) {
        rig_stop(rig);
        rig_serve(rig, 4);
        while (ask(rig, "echo x", 5000, "x", NULL) != TG_OK)
            usleep(10000);
    }
    assert_true(rpc_client_ready(rig->client));
}

/* Two endpoints, one of them dead: calls go to the other without delay or failure. */
static void a_dead_endpoint_is_passed_over(void **state)
{
    struct rig *rig = *state;
    char dead[] = "ipc:///nonexistent/socket";
    char *endpoints[] = {dead, rig->address};
    struct rpc_peer peer = {.endpoints = {.items = endpoints, .count = 2}};
    rpc_client_close(rig->client);
    assert_int_equal(rpc_client_open(&rig->client, "test service", &peer, NULL), TG_OK);
    assert_int_equal(ask(rig, "echo x", 20000, "x", NULL), TG_OK);
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask(rig, "echo x", 20000, "x", NULL), TG_OK);
    assert_true(rpc_client_ready(rig->client));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup_ipc, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_never_comes_is_deadline_exceeded),
        TEST(the_deadline_spans_all_attempts),
        TEST(what_was_perhaps_processed_is_not_tried_again),
        TEST(an_idempotent_call_is_tried_again_under_the_same_id),
        TEST(a_call_that_was_perhaps_processed_never_ends_as_unavailable),
        TEST(other_failures_are_not_tried_again),
        TEST(unavailable_is_tried_four_times_under_one_id),
        TEST(unavailable_three_times_is_no_failure),
        TEST(a_server_that_keeps_refusing_is_left_alone_for_a_moment),
        TEST(nobody_there_is_unavailable),
        TEST(a_server_that_comes_late_is_waited_for),
        TEST(a_client_survives_many_restarts),
        TEST(a_dead_endpoint_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
