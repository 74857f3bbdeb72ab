/* Drain, close, late answers, and many callers at once. */
#include "rpc_tls_fixture.h"

static void a_drained_server_answers_unavailable(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    assert_true(rpc_server_drain(rig->server, 0));
    assert_int_equal(ask(rig, "echo x", 5000, NULL, &err), TG_UNAVAILABLE);
    assert_int_equal(rig->script.handled, 0);
}

static void drain_gives_up_when_time_is_over(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    ask_later(rig, "hold", 60000, false, &p);
    await_held(&rig->script, 1);
    assert_false(rpc_server_drain(rig->server, 20));
    reply_text(take_held(&rig->script), "late");
    assert_int_equal(pending_wait(&p), TG_OK);
    assert_true(rpc_server_drain(rig->server, 20000));
}

static void *answer_held(void *arg)
{
    struct rig *rig = arg;
    usleep(20000);
    reply_text(take_held(&rig->script), "done");
    return NULL;
}

static void drain_waits_for_calls_in_flight(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    pthread_t thread;
    ask_later(rig, "hold", 60000, false, &p);
    await_held(&rig->script, 1);
    assert_int_equal(pthread_create(&thread, NULL, answer_held, rig), 0);
    assert_true(rpc_server_drain(rig->server, 60000));
    pthread_join(thread, NULL);
    assert_int_equal(pending_wait(&p), TG_OK);
}

static void an_answer_after_close_goes_into_the_void(void **state)
{
    struct rig *rig = *state;
    struct pending p;
    ask_later(rig, "hold", 60000, false, &p);
    await_held(&rig->script, 1);
    struct rpc_call *call = take_held(&rig->script);
    rig_stop(rig);
    assert_int_equal(pending_wait(&p), TG_UNKNOWN);
    assert_ptr_equal(rpc_call_context(call), &rig->script);
    assert_int_equal(rpc_call_role(call), RPC_ROLE_GATEWAY);
    assert_true(rpc_call_remaining_ms(call) > 0);
    assert_string_equal(((const Tg__HealthCheckRequest *)(const void *)rpc_call_request(call))->service,
                        "hold");
    reply_text(call, "late");
}

static void closing_a_client_cancels_its_calls(void **state)
{
    struct rig *rig = *state;
    struct pending held, unsent;
    ask_later(rig, "hold", 60000, false, &held);
    await_held(&rig->script, 1);
    struct rpc_call *call = take_held(&rig->script);
    rpc_client_close(rig->client);
    rig->client = NULL;
    assert_int_equal(pending_wait(&held), TG_CANCELLED);
    reply_text(call, "late");

    rig_stop(rig);
    rig_connect(rig);
    ask_later(rig, "echo x", 60000, false, &unsent);
    rpc_client_close(rig->client);
    rig->client = NULL;
    assert_int_equal(pending_wait(&unsent), TG_CANCELLED);
}

static void a_call_that_waited_too_long_has_no_time_left(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "hold", 100, NULL, NULL), TG_DEADLINE_EXCEEDED);
    await_held(&rig->script, 1);
    struct rpc_call *call = take_held(&rig->script);
    while (rpc_call_remaining_ms(call) > 0)
        usleep(1000);
    rpc_fail(call, TG_DEADLINE_EXCEEDED, "too late");
    assert_int_equal(ask(rig, "echo x", 20000, "x", NULL), TG_OK);
}

static void more_calls_than_slots_wait(void **state)
{
    struct rig *rig = *state;
    struct pending p[3];
    rig_stop_and_lose(rig);
    rig_serve(rig, 2);
    for (int i = 0; i < 3; i++)
        ask_later(rig, "hold", 60000, false, &p[i]);
    await_held(&rig->script, 2);
    assert_int_equal(rig->script.handled, 2);
    for (size_t i = 1; i <= 3; i++) {
        await_held(&rig->script, 1);
        reply_text(take_held(&rig->script), "done");
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pending_wait(&p[i]), TG_OK);
}

/* ---- many at once ---- */

enum { CALLERS = 64, CALLS = 500, BLOCKING_THREADS = 4, BLOCKING_CALLS = 250 };

struct caller {
    struct rig *rig;
    pthread_mutex_t *lock;
    pthread_cond_t *ended;
    unsigned *running;
    unsigned number, calls, ok, wrong;
    char expected[32];
};

static void call_next(struct caller *me);

static void on_echo(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct caller *me = arg;
    const Tg__HealthCheckResponse *answer = (const void *)response;
    if (status == TG_OK)
        me->ok++;
    else
        print_error("%s %s\n", tg_code_name(status), text);
    if (status != TG_OK || strcmp(answer->reason, me->expected) != 0)
        me->wrong++;
    if (me->calls < CALLS) {
        call_next(me);
        return;
    }
    pthread_mutex_lock(me->lock);
    (*me->running)--;
    pthread_cond_signal(me->ended);
    pthread_mutex_unlock(me->lock);
}

static void call_next(struct caller *me)
{
    char script[64];
    Tg__HealthCheckRequest message;
    snprintf(me->expected, sizeof me->expected, "%u-%u", me->number, me->calls++);
    snprintf(script, sizeof script, "echo %s", me->expected);
    struct rpc_request request = script_request(&message, script, 60000);
    rpc_start(me->rig->client, &request, on_echo, me);
}

static void *call_blocking(void *arg)
{
    struct tg_error err;
    for (int i = 0; i < BLOCKING_CALLS; i++) {
        if (ask(arg, "echo blocking", 60000, "blocking", &err) != TG_OK) {
            print_error("%s %s\n", tg_code_name(err.code), err.text);
            return arg;
        }
    }
    return NULL;
}

static void many_callers_get_their_own_answers(void **state)
{
    struct rig *rig = *state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
    unsigned running = CALLERS;
    struct caller callers[CALLERS];
    pthread_t threads[BLOCKING_THREADS];
    for (int i = 0; i < BLOCKING_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_blocking, rig), 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){rig, &lock, &ended, &running, i, 0, 0, 0, ""};
        call_next(&callers[i]);
    }
    pthread_mutex_lock(&lock);
    while (running > 0)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < BLOCKING_THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].ok, CALLS);
        assert_int_equal(callers[i].wrong, 0);
    }
}

#define OVER_IPC(name) cmocka_unit_test_setup_teardown(name, rig_setup_ipc, rig_teardown)
#define OVER_TLS(name) cmocka_unit_test_setup_teardown(name, rig_setup_tls, rig_teardown_tls)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_IPC(a_drained_server_answers_unavailable),
        OVER_IPC(drain_gives_up_when_time_is_over),
        OVER_IPC(drain_waits_for_calls_in_flight),
        OVER_IPC(an_answer_after_close_goes_into_the_void),
        OVER_IPC(closing_a_client_cancels_its_calls),
        OVER_IPC(a_call_that_waited_too_long_has_no_time_left),
        OVER_IPC(more_calls_than_slots_wait),
        OVER_IPC(many_callers_get_their_own_answers),
        OVER_TLS(an_answer_after_close_goes_into_the_void),
        OVER_TLS(closing_a_client_cancels_its_calls),
        OVER_TLS(many_callers_get_their_own_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
