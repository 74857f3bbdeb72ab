/* The audit client against a scripted audit service: failures first, then batching. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/audit_client.h"
#include "common/audit_queue.h"
#include "common/pb.h"

enum { HELD_MAX = 64, NAMES_MAX = 16384 };

struct rig {
    char dir[64];
    char address[128];
    struct rpc_server *server;
    struct audit_client *audit;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;
    enum tg_code answer; /* to every batch */
    const char *poison;  /* event that makes its batch INVALID_ARGUMENT */
    struct rpc_call *held[HELD_MAX];
    size_t held_count;
    size_t batches, events, largest;
    bool same_id_seen;
    uint8_t last_id[REQUEST_ID_LEN];
    char last_service[32], last_event[64];
    uint64_t last_time_us;
    uint8_t seen[NAMES_MAX]; /* how often event number i came */
};

static bool is_poisoned(const struct rig *rig, const Tg__AppendRequest *append)
{
    for (size_t i = 0; i < append->n_events; i++)
        if (rig->poison != NULL && strcmp(append->events[i]->event, rig->poison) == 0)
            return true;
    return false;
}

static void note(struct rig *rig, const struct rpc_call *call, const Tg__AppendRequest *append)
{
    const Tg__Event *last = append->events[append->n_events - 1];
    rig->batches++;
    if (append->n_events > rig->largest)
        rig->largest = append->n_events;
    rig->same_id_seen |= memcmp(rig->last_id, rpc_call_request_id(call), REQUEST_ID_LEN) == 0;
    memcpy(rig->last_id, rpc_call_request_id(call), REQUEST_ID_LEN);
    snprintf(rig->last_service, sizeof rig->last_service, "%s", last->service);
    snprintf(rig->last_event, sizeof rig->last_event, "%s", last->event);
    rig->last_time_us = last->time_us;
}

static void keep_events(struct rig *rig, const Tg__AppendRequest *append)
{
    rig->events += append->n_events;
    for (size_t i = 0; i < append->n_events; i++)
        rig->seen[(size_t)atoi(append->events[i]->detail) % NAMES_MAX]++;
}

static void answer(struct rpc_call *call)
{
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

static void on_append(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__AppendRequest *append = (const void *)message;
    struct rig *rig = rpc_call_context(call);
    pthread_mutex_lock(&rig->lock);
    note(rig, call, append);
    enum tg_code code = is_poisoned(rig, append) ? TG_INVALID_ARGUMENT : rig->answer;
    bool hold = rig->hold;
    if (code == TG_OK)
        keep_events(rig, append);
    if (hold && rig->held_count < HELD_MAX)
        rig->held[rig->held_count++] = call;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
    if (hold)
        return;
    if (code == TG_OK)
        answer(call);
    else
        rpc_fail(call, code, "disk is full");
}

static const struct rpc_method methods[] = {
    {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE, on_append},
    {NULL, NULL, 0, NULL},
};

static void serve(struct rig *rig)
{
    struct tg_error err = {0};
    struct rpc_listener listener = {.address = rig->address, .role = 4};
    if (rpc_server_open(&rig->server, methods, rig, 16, &err) != TG_OK ||
        rpc_server_listen(rig->server, &listener, &err) != TG_OK)
        fail_msg("%s", err.text);
}

/* Waits until the client has noticed: before, a batch may be sent into the void. */
static void stop_serving(struct rig *rig)
{
    rpc_server_close(rig->server);
    rig->server = NULL;
    while (audit_client_ready(rig->audit))
        usleep(1000);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    memcpy(rig->dir, "/tmp/tg-audit-XXXXXX", sizeof "/tmp/tg-audit-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->address, sizeof rig->address, "ipc://%s/socket", rig->dir);
    serve(rig);
    char *endpoints[] = {rig->address};
    struct rpc_peer peer = {.endpoints = {.items = endpoints, .count = 1}};
    assert_int_equal(audit_client_open(&rig->audit, "gateway", &peer, NULL), TG_OK);
    *state = rig;
    return 0;
}

/* ---- callers ---- */

struct result {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count, durable;
    enum tg_code status; /* the last */
    char text[256];
};
#define RESULT_INIT                                                                                          \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                               \
    }

static void on_done(void *arg, enum tg_code status, const char *text)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->lock);
    r->count++;
    r->durable += status == TG_OK;
    r->status = status;
    snprintf(r->text, sizeof r->text, "%s", text);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void await_results(struct result *r, size_t count)
{
    pthread_mutex_lock(&r->lock);
    while (r->count < count)
        pthread_cond_wait(&r->changed, &r->lock);
    assert_int_equal(r->count, count);
    pthread_mutex_unlock(&r->lock);
}

static void report(struct rig *rig, unsigned number, uint32_t budget_ms, struct result *r)
{
    char detail[16];
    snprintf(detail, sizeof detail, "%u", number);
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("login.accepted");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.detail = detail;
    audit_report(rig->audit, &event, budget_ms, r != NULL ? on_done : NULL, r);
}

static void await_batches(struct rig *rig, size_t count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->batches < count)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static void await_events(struct rig *rig, size_t count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->events < count)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static void set_answer(struct rig *rig, enum tg_code code, bool hold)
{
    pthread_mutex_lock(&rig->lock);
    rig->answer = code;
    rig->hold = hold;
    pthread_mutex_unlock(&rig->lock);
}

static void answer_held(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    struct rpc_call *held[HELD_MAX];
    size_t count = rig->held_count;
    memcpy(held, rig->held, sizeof held);
    rig->held_count = 0;
    rig->hold = false;
    pthread_mutex_unlock(&rig->lock);
    for (size_t i = 0; i < count; i++)
        answer(held[i]);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    (void)audit_client_close(rig->audit, 0);
    rpc_server_close(rig->server);
    answer_held(rig);
    rmdir(rig->dir);
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

/* ---- tests ---- */

static void a_server_that_is_down_means_an_error_for_who_waits(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    stop_serving(rig);
    report(rig, 1, 300, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_UNAVAILABLE);
    assert_memory_equal(r.text, "audit: ", 7);
}

static void a_server_that_never_answers_means_deadline_exceeded(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(rig, 1, 200, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_DEADLINE_EXCEEDED);
}

static void what_the_server_says_reaches_who_waits(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_RESOURCE_EXHAUSTED, false);
    report(rig, 1, 5000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_string_equal(r.text, "audit: disk is full");
    set_answer(rig, TG_OK, false);
    report(rig, 2, 5000, &r);
    await_results(&r, 2);
    assert_int_equal(r.status, TG_OK);
}

static void an_event_that_is_too_large_is_refused(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    char *big = calloc(1, AUDIT_EVENT_BYTES + 1);
    memset(big, 'x', AUDIT_EVENT_BYTES);
    Tg__Event event = TG__EVENT__INIT;
    event.reason = big;
    audit_report(rig->audit, &event, 1000, on_done, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_int_equal(audit_client_lost(rig->audit), 0);
    audit_report(rig->audit, &event, 1000, NULL, NULL);
    assert_int_equal(audit_client_lost(rig->audit), 1);
    free(big);
}

static void a_full_queue_refuses_and_loses_nothing_silently(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
        report(rig, i, 60000, &r);
    assert_int_equal(r.count, 0);
    report(rig, AUDIT_QUEUE_MAX, 60000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_int_equal(audit_client_lost(rig->audit), 0);
    report(rig, AUDIT_QUEUE_MAX + 1, 60000, NULL);
    assert_int_equal(audit_client_lost(rig->audit), 1);
    await_batches(rig, AUDIT_BATCHES);
    answer_held(rig);
    await_results(&r, AUDIT_QUEUE_MAX + 1);
    assert_int_equal(r.durable, AUDIT_QUEUE_MAX);
    assert_true(rig->largest > 1 && rig->largest <= AUDIT_BATCH_EVENTS);
    assert_true(rig->batches < AUDIT_QUEUE_MAX / 8);
    for (unsigned i = 0; i < AUDIT_QUEUE_MAX; i++)
        assert_int_equal(rig->seen[i], 1);
    assert_int_equal(rig->seen[AUDIT_QUEUE_MAX], 0);
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
        audit_report(rig->audit, &event, 20000, on_done, &r);
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
        report(rig, i, 20000, &good); /* these fill the batches, so that the next ones queue up together */
    await_batches(rig, AUDIT_BATCHES);
    rig->poison = "bad";
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("bad");
    for (unsigned i = AUDIT_BATCHES; i < 100; i++) {
        if (i == 42)
            audit_report(rig->audit, &event, 20000, on_done, &bad);
        report(rig, i, 20000, &good);
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
        report(rig, i, 100, NULL);
    await_batches(rig, AUDIT_BATCHES + 1);
    stop_serving(rig);
    for (unsigned i = 50; i < 100; i++)
        report(rig, i, 100, NULL);
    set_answer(rig, TG_OK, false);
    serve(rig);
    await_events(rig, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(rig->seen[i], 1);
    assert_int_equal(audit_client_lost(rig->audit), 0);
}

static void a_batch_keeps_its_request_id_when_it_is_tried_again(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(rig, 1, 20000, &r);
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
    report(rig, 7, 100, &r);
    await_results(&r, 1);
    assert_int_not_equal(r.status, TG_OK);
    serve(rig);
    report(rig, 8, 20000, &r);
    await_results(&r, 2);
    assert_int_equal(r.status, TG_OK);
    assert_true(audit_client_close(rig->audit, 5000));
    rig->audit = NULL;
    assert_int_equal(rig->seen[7], 0);
    assert_int_equal(rig->seen[8], 1);
}

static void closing_with_events_left_says_so(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    set_answer(rig, TG_OK, true);
    report(rig, 1, 60000, &r);
    report(rig, 2, 60000, NULL);
    await_batches(rig, 2);
    assert_false(audit_client_close(rig->audit, 10));
    rig->audit = NULL;
    assert_int_equal(r.count, 1);
    assert_int_equal(r.status, TG_CANCELLED);
}

static void service_and_time_are_filled_in(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    report(rig, 1, 5000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_OK);
    assert_string_equal(rig->last_service, "gateway");
    assert_string_equal(rig->last_event, "login.accepted");
    assert_true(rig->last_time_us > 1000000);
    assert_true(audit_client_ready(rig->audit));
}

static void closing_waits_for_what_is_queued(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < 1000; i++)
        report(rig, i, 0, NULL);
    assert_true(audit_client_close(rig->audit, 20000));
    rig->audit = NULL;
    assert_int_equal(rig->events, 1000);
}

enum { THREADS = 8, EACH = 300 };

struct reporter {
    struct rig *rig;
    struct result *result;
    unsigned first;
};

static void *report_many(void *arg)
{
    struct reporter *me = arg;
    for (unsigned i = 0; i < EACH; i++)
        report(me->rig, me->first + i, 30000, i % 2 == 0 ? me->result : NULL);
    return NULL;
}

static void many_threads_report_at_once(void **state)
{
    struct rig *rig = *state;
    struct result r = RESULT_INIT;
    pthread_t threads[THREADS];
    struct reporter reporters[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        reporters[i] = (struct reporter){rig, &r, i * EACH};
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
        TEST(an_event_that_is_too_large_is_refused),
        TEST(a_full_queue_refuses_and_loses_nothing_silently),
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
