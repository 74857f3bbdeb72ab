/* The audit client against a scripted audit service: failures first, then batching. */
#include "tests/unit/common/audit_rig.h"

static struct audit_client *audit;

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_init(rig);
    char *endpoints[] = {rig->address};
    struct audit_services services = {.first.endpoints = {.items = endpoints, .count = 1}, .must_ack = 1};
    assert_int_equal(audit_client_open(&audit, "gateway", &services, NULL), TG_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    (void)audit_client_close(audit, 0);
    rig_fini(rig);
    free(rig);
    return 0;
}

/* Waits until the client has noticed: before, a batch may be sent into the void. */
static void stop_serving(struct rig *rig)
{
    rpc_server_close(rig->server);
    rig->server = NULL;
    while (audit_client_trouble(audit) == NULL)
        usleep(1000);
}

/* ---- tests ---- */

static void a_server_that_is_down_means_an_error_for_who_waits(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    stop_serving(rig);
    report(audit, 1, 300, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_UNAVAILABLE);
    assert_memory_equal(r.text, "audit: ", 7);
}

static void a_server_that_never_answers_means_deadline_exceeded(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(audit, 1, 200, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_DEADLINE_EXCEEDED);
}

static void what_the_server_says_reaches_who_waits(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_RESOURCE_EXHAUSTED, false);
    report(audit, 1, 5000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_string_equal(r.text, "audit: disk is full");
    set_answer(rig, TG_OK, false);
    report(audit, 2, 5000, &r);
    await_results(&r, 2);
    assert_int_equal(r.status, TG_OK);
}

/* When a breaker keeps calls from being tried, the last thing that the server said is still the reason. */
static void the_reason_outlives_the_breaker(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_UNAVAILABLE, false);
    for (unsigned i = 0; i < 6; i++) {
        report(audit, i, 400, &r);
        await_results(&r, i + 1);
        assert_int_equal(r.status, TG_UNAVAILABLE);
        assert_string_equal(r.text, "audit: disk is full");
    }
}

static void an_event_that_is_too_large_is_refused(void **state)
{
    (void)state;
    struct result r = RESULT_INIT;
    char *big = calloc(1, AUDIT_EVENT_BYTES + 1);
    memset(big, 'x', AUDIT_EVENT_BYTES);
    Tg__Event event = TG__EVENT__INIT;
    event.reason = big;
    audit_report(audit, &event, 1000, on_done, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_int_equal(audit_client_lost(audit), 0);
    assert_false(audit_post(audit, &event));
    assert_int_equal(audit_client_lost(audit), 0);
    audit_post_last(audit, &event);
    assert_int_equal(audit_client_lost(audit), 1);
    free(big);
}

static void a_full_queue_refuses_and_loses_nothing_silently(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
        report(audit, i, 60000, &r);
    assert_int_equal(r.count, 0);
    report(audit, AUDIT_QUEUE_MAX, 60000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_int_equal(audit_client_lost(audit), 0);
    Tg__Event event = TG__EVENT__INIT;
    char last[16];
    snprintf(last, sizeof last, "%d", AUDIT_QUEUE_MAX + 1);
    event.event = pb_string("session.ended");
    event.detail = last;
    assert_false(audit_post(audit, &event));
    assert_string_equal(audit_client_trouble(audit), "too many events wait for the audit service");
    audit_post_last(audit, &event); /* taken, since it ends something that began while there was room */
    await_batches(rig, AUDIT_BATCHES);
    answer_held(rig);
    await_results(&r, AUDIT_QUEUE_MAX + 1);
    await_events(rig, AUDIT_QUEUE_MAX + 1);
    assert_int_equal(r.durable, AUDIT_QUEUE_MAX);
    assert_int_equal(audit_client_lost(audit), 0);
    assert_null(audit_client_trouble(audit));
    assert_int_equal(rig->seen[AUDIT_QUEUE_MAX + 1], 1);
    assert_true(rig->largest > 1 && rig->largest <= AUDIT_BATCH_EVENTS);
    assert_true(rig->batches < AUDIT_QUEUE_MAX / 8);
    for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
        assert_int_equal(rig->seen[i], 1);
    assert_int_equal(rig->seen[AUDIT_QUEUE_MAX], 0);
}

/* What the server never takes and nobody waits for is the one way to lose an event: counted, and logged. */
static void what_is_never_taken_is_counted(void **state)
{
    struct rig *rig = *state;
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("bad");
    rig->poison = "bad";
    assert_true(audit_post(audit, &event));
    while (audit_client_lost(audit) == 0)
        usleep(1000);
    assert_int_equal(audit_client_lost(audit), 1);
}

static void large_events_make_smaller_batches(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    char *big = calloc(1, 10001);
    memset(big, 'x', 10000);
    Tg__Event event = TG__EVENT__INIT;
    event.reason = big;
    for (int i = 0; i < 200; i++)
        audit_report(audit, &event, 20000, on_done, &r);
    await_results(&r, 200);
    assert_int_equal(r.durable, 200);
    assert_true(rig->largest <= AUDIT_BATCH_BYTES / 10000);
    free(big);
}

static void one_bad_event_does_not_harm_the_others(void **state)
{
    struct rig *rig = *state;
    struct result good = RESULT_INIT, bad = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    for (unsigned i = 0; i < AUDIT_BATCHES; i++)
        report(audit, i, 20000, &good); /* these fill the batches, so that the next ones queue up together */
    await_batches(rig, AUDIT_BATCHES);
    rig->poison = "bad";
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("bad");
    for (unsigned i = AUDIT_BATCHES; i < 100; i++) {
        if (i == 42)
            audit_report(audit, &event, 20000, on_done, &bad);
        report(audit, i, 20000, &good);
    }
    answer_held(rig);
    await_results(&good, 100);
    await_results(&bad, 1);
    assert_int_equal(good.durable, 100);
    assert_int_equal(bad.status, TG_INVALID_ARGUMENT);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(rig->seen[i], 1);
}

static void events_that_nobody_waits_for_survive_an_outage(void **state)
{
    struct rig *rig = *state;
    set_answer(rig, TG_RESOURCE_EXHAUSTED, false);
    for (unsigned i = 0; i < 50; i++)
        report(audit, i, 100, NULL);
    await_batches(rig, AUDIT_BATCHES + 1);
    stop_serving(rig);
    for (unsigned i = 50; i < 100; i++)
        report(audit, i, 100, NULL);
    set_answer(rig, TG_OK, false);
    serve(rig);
    await_events(rig, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(rig->seen[i], 1);
    assert_int_equal(audit_client_lost(audit), 0);
}

static void a_batch_keeps_its_request_id_when_it_is_tried_again(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(audit, 1, 20000, &r);
    await_batches(rig, 1);
    set_answer(rig, TG_OK, false);
    stop_serving(rig); /* the answer is lost */
    assert_false(rig->same_id_seen);
    serve(rig);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_OK);
    assert_true(rig->same_id_seen);
}

static void who_was_told_of_a_failure_is_not_recorded_later(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    stop_serving(rig);
    report(audit, 7, 100, &r);
    await_results(&r, 1);
    assert_int_not_equal(r.status, TG_OK);
    serve(rig);
    report(audit, 8, 20000, &r);
    await_results(&r, 2);
    assert_int_equal(r.status, TG_OK);
    assert_true(audit_client_close(audit, 5000));
    audit = NULL;
    assert_int_equal(rig->seen[7], 0);
    assert_int_equal(rig->seen[8], 1);
}

static void closing_with_events_left_says_so(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(audit, 1, 60000, &r);
    report(audit, 2, 60000, NULL);
    await_batches(rig, 2);
    assert_false(audit_client_close(audit, 10));
    audit = NULL;
    assert_int_equal(r.count, 1);
    assert_int_equal(r.status, TG_CANCELLED);
}

static void service_and_time_are_filled_in(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    report(audit, 1, 5000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_OK);
    assert_string_equal(rig->last_service, "gateway");
    assert_string_equal(rig->last_event, "login.accepted");
    assert_true(rig->last_time_us > 1000000);
    assert_true(audit_client_trouble(audit) == NULL);
}

static void closing_waits_for_what_is_queued(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < 1000; i++)
        report(audit, i, 0, NULL);
    assert_true(audit_client_close(audit, 20000));
    audit = NULL;
    assert_int_equal(rig->events, 1000);
}

enum { THREADS = 8, EACH = 300 };

struct reporter {
    struct result *result;
    unsigned first;
};

static void *report_many(void *arg)
{
    struct reporter *me = arg;
    for (unsigned i = 0; i < EACH; i++)
        report(audit, me->first + i, 30000, i % 2 == 0 ? me->result : NULL);
    return NULL;
}

static void many_threads_report_at_once(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    pthread_t threads[THREADS];
    struct reporter reporters[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        reporters[i] = (struct reporter){&r, i * EACH};
        assert_int_equal(pthread_create(&threads[i], NULL, report_many, &reporters[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    await_results(&r, THREADS * EACH / 2);
    await_events(rig, THREADS * EACH);
    assert_int_equal(r.durable, THREADS * EACH / 2);
    for (unsigned i = 0; i < THREADS * EACH; i++)
        assert_int_equal(rig->seen[i], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_that_is_down_means_an_error_for_who_waits),
        TEST(a_server_that_never_answers_means_deadline_exceeded),
        TEST(what_the_server_says_reaches_who_waits),
        TEST(the_reason_outlives_the_breaker),
        TEST(an_event_that_is_too_large_is_refused),
        TEST(a_full_queue_refuses_and_loses_nothing_silently),
        TEST(what_is_never_taken_is_counted),
        TEST(large_events_make_smaller_batches),
        TEST(one_bad_event_does_not_harm_the_others),
        TEST(events_that_nobody_waits_for_survive_an_outage),
        TEST(a_batch_keeps_its_request_id_when_it_is_tried_again),
        TEST(who_was_told_of_a_failure_is_not_recorded_later),
        TEST(closing_with_events_left_says_so),
        TEST(service_and_time_are_filled_in),
        TEST(closing_waits_for_what_is_queued),
        TEST(many_threads_report_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
