#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/monotonic.h"
#include "common/trace.h"

struct signalled {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void *signal_once(void *arg)
{
    struct signalled *s = arg;
    pthread_mutex_lock(&s->lock);
    s->done = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void a_deadline_that_has_come_ends_the_wait(void **state)
{
    (void)state;
    struct signalled s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    monotonic_cond_init(&s.changed);
    pthread_mutex_lock(&s.lock);
    while (monotonic_wait(&s.changed, &s.lock, 0))
        ; /* woken early */
    uint64_t at_ms = clock_now_ms() + 30;
    while (monotonic_wait(&s.changed, &s.lock, at_ms))
        ;
    assert_true(clock_now_ms() >= at_ms); /* never before its time */
    pthread_mutex_unlock(&s.lock);
    pthread_cond_destroy(&s.changed);
}

static void a_signal_ends_the_wait(void **state)
{
    (void)state;
    static const uint64_t never[] = {UINT64_MAX, UINT64_MAX - 1};
    for (size_t i = 0; i < 2; i++) {
        struct signalled s = {.lock = PTHREAD_MUTEX_INITIALIZER};
        pthread_t thread;
        monotonic_cond_init(&s.changed);
        pthread_mutex_lock(&s.lock);
        assert_int_equal(pthread_create(&thread, NULL, signal_once, &s), 0);
        while (!s.done)
            assert_true(monotonic_wait(&s.changed, &s.lock, never[i]));
        pthread_mutex_unlock(&s.lock);
        pthread_join(thread, NULL);
        pthread_cond_destroy(&s.changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_that_has_come_ends_the_wait),
        cmocka_unit_test(a_signal_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
