/* The stock between a source that must be waited for and those who must not wait. */
#include "scratch.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "services/key-store/source/source_stock.h"

enum { LOW = 4096, EVENTS_MAX = 16 };

/* A source that gives what the test allows, byte after byte 0, 1, 2 … */
struct script {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t allowed; /* bytes that may still be fetched */
    enum tg_code failure;
    unsigned failures; /* told */
    uint8_t next;
    bool interrupted, closed, waiting;
    enum source_event events[EVENTS_MAX];
    size_t event_count;
    struct source_status at_event;
    struct source *source;
};

static enum tg_code fetch(void *arg, struct secret *out, size_t *len, struct tg_error *err)
{
    struct script *s = arg;
    enum tg_code code = TG_OK;
    pthread_mutex_lock(&s->lock);
    s->waiting = true;
    pthread_cond_broadcast(&s->changed);
    while (s->allowed == 0 && s->failure == TG_OK && !s->interrupted)
        pthread_cond_wait(&s->changed, &s->lock);
    s->waiting = false;
    if (s->interrupted || s->failure != TG_OK) {
        code = s->interrupted ? TG_CANCELLED : s->failure;
        s->failures++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return tg_fail(err, code, "the lamp has burnt out");
    }
    *len = s->allowed < secret_len(out) ? s->allowed : secret_len(out);
    for (size_t i = 0; i < *len; i++)
        secret_bytes(out)[i] = s->next++;
    s->allowed -= *len;
    pthread_mutex_unlock(&s->lock);
    return TG_OK;
}

static void interrupt(void *arg)
{
    struct script *s = arg;
    pthread_mutex_lock(&s->lock);
    s->interrupted = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void close_script(void *arg)
{
    ((struct script *)arg)->closed = true;
}

static void on_event(void *arg, enum source_event event, const struct source_status *status)
{
    struct script *s = arg;
    pthread_mutex_lock(&s->lock);
    TG_INVARIANT(s->event_count < EVENTS_MAX);
    s->events[s->event_count++] = event;
    s->at_event = *status;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void set(struct script *s, size_t allowed, enum tg_code failure)
{
    pthread_mutex_lock(&s->lock);
    s->allowed += allowed;
    s->failure = failure;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Under the lock, which it gives up before it fails the test. */
static void await_change(struct script *s)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += 60;
    if (pthread_cond_timedwait(&s->changed, &s->lock, &at) == 0)
        return;
    pthread_mutex_unlock(&s->lock);
    fail_msg("what was waited for did not come");
}

/* Until all that was allowed is in the stock, and the next is being waited for. */
static void await_fetched(struct script *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->allowed > 0 || !s->waiting)
        await_change(s);
    pthread_mutex_unlock(&s->lock);
}

static void await_failures(struct script *s, unsigned count)
{
    pthread_mutex_lock(&s->lock);
    while (s->failures < count)
        await_change(s);
    pthread_mutex_unlock(&s->lock);
}

static void await_event(struct script *s, size_t number, enum source_event event)
{
    pthread_mutex_lock(&s->lock);
    while (s->event_count < number)
        await_change(s);
    size_t count = s->event_count;
    enum source_event last = s->events[number - 1];
    pthread_mutex_unlock(&s->lock);
    assert_int_equal(count, number);
    assert_int_equal(last, event);
}

static int setup(void **state)
{
    struct script *s = calloc(1, sizeof *s);
    struct tg_error err;
    assert_non_null(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    const struct source_fetch how = {"lamp", s, fetch, interrupt, close_script};
    const struct source_stock_options options = {SOURCE_STOCK_MIN + 1000, LOW, on_event, s};
    assert_int_equal(source_stock_open(&how, &options, &s->source, &err), TG_OK);
    assert_int_equal(s->source->start(s->source, &err), TG_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    s->source->close(s->source);
    bool closed = s->closed;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
    return closed ? 0 : 1;
}

static enum tg_code draw(struct script *s, struct secret *out, struct tg_error *err)
{
    return s->source->draw(s->source, out, err);
}

static void a_dry_source_names_itself(void **state)
{
    struct script *s = *state;
    struct secret *out = secret_new(32);
    struct tg_error err;
    assert_int_equal(draw(s, out, &err), TG_RESOURCE_EXHAUSTED);
    assert_string_equal(err.text, "key source lamp is dry: 32 bytes wanted, 0 there");
    set(s, 31, TG_OK);
    await_fetched(s);
    assert_int_equal(draw(s, out, &err), TG_RESOURCE_EXHAUSTED); /* all or nothing */
    assert_string_equal(err.text, "key source lamp is dry: 32 bytes wanted, 31 there");
    assert_int_equal(secret_view(out)[0], 0);
    set(s, 0, TG_UNAVAILABLE);
    await_failures(s, 2); /* the first is noted by now */
    assert_int_equal(draw(s, out, &err), TG_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.text, "31 there: the lamp has burnt out"));
    secret_free(out);
}

/* Nothing is given twice, left out or reordered, across the ring's end many times. */
static void each_byte_is_given_once(void **state)
{
    struct script *s = *state;
    struct secret *out = secret_new(777);
    struct tg_error err;
    uint8_t expected = 0;
    for (int i = 0; i < 100; i++) {
        set(s, 777, TG_OK);
        await_fetched(s);
        assert_int_equal(draw(s, out, &err), TG_OK);
        for (size_t j = 0; j < 777; j++)
            assert_int_equal(secret_view(out)[j], expected++);
    }
    assert_int_equal(draw(s, out, &err), TG_RESOURCE_EXHAUSTED);
    struct source_status status;
    s->source->status(s->source, &status);
    assert_int_equal(status.fetched, 77700);
    assert_int_equal(status.drawn, 77700);
    assert_int_equal(status.stock, 0);
    assert_true(status.rate > 0);
    secret_free(out);
}

static void the_stock_is_bounded(void **state)
{
    struct script *s = *state;
    struct secret *out = secret_new(1);
    struct tg_error err;
    struct source_status status;
    set(s, 1000000, TG_OK);
    do { /* the second full fetch leaves no room for a third */
        s->source->status(s->source, &status);
    } while (status.stock < 2 * SOURCE_FETCH_MAX);
    assert_int_equal(draw(s, out, &err), TG_OK);
    s->source->status(s->source, &status);
    assert_int_equal(status.stock, 2 * SOURCE_FETCH_MAX - 1);
    assert_int_equal(status.capacity, SOURCE_STOCK_MIN + 1000);
    secret_free(out);
}

static void low_water_is_told_once_and_so_is_recovery(void **state)
{
    struct script *s = *state;
    struct secret *out = secret_new(LOW);
    struct tg_error err;
    set(s, LOW, TG_OK);
    await_fetched(s);
    assert_int_equal(s->event_count, 0); /* filling up at the start is not news */
    assert_int_equal(draw(s, out, &err), TG_OK);
    await_event(s, 1, SOURCE_LOW);
    assert_true(s->at_event.low);
    assert_int_equal(s->at_event.stock, 0);
    assert_int_equal(draw(s, out, &err), TG_RESOURCE_EXHAUSTED);
    set(s, LOW, TG_OK);
    await_fetched(s);
    await_event(s, 1, SOURCE_LOW); /* not yet twice the mark */
    set(s, LOW, TG_OK);
    await_event(s, 2, SOURCE_RECOVERED);
    assert_false(s->at_event.low);
    secret_free(out);
}

static void a_source_that_never_gave_anything_is_told(void **state)
{
    struct script *s = *state;
    set(s, 0, TG_NOT_FOUND);
    await_event(s, 1, SOURCE_LOW);
    assert_string_equal(s->at_event.problem, "the lamp has burnt out");
    await_failures(s, 3); /* it is tried again */
    set(s, 2 * (size_t)LOW, TG_OK);
    await_event(s, 2, SOURCE_RECOVERED);
    assert_string_equal(s->at_event.problem, "");
}

static void what_failed_its_test_gives_nothing_any_more(void **state)
{
    struct script *s = *state;
    struct secret *out = secret_new(32);
    struct tg_error err;
    struct source_status status;
    set(s, LOW, TG_OK);
    await_fetched(s);
    set(s, 0, TG_DATA_LOSS);
    await_event(s, 2, SOURCE_FAILED);
    assert_int_equal(draw(s, out, &err), TG_UNAVAILABLE); /* not even what was there */
    assert_string_equal(err.text, "key source lamp is out of use: the lamp has burnt out");
    set(s, 1000000, TG_OK);
    s->source->status(s->source, &status);
    assert_true(status.failed);
    assert_int_equal(status.stock, 0);
    assert_int_equal(s->failures, 1);
    secret_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_dry_source_names_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(each_byte_is_given_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_stock_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(low_water_is_told_once_and_so_is_recovery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_that_never_gave_anything_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(what_failed_its_test_gives_nothing_any_more, setup, teardown),
    };
    quiet();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
