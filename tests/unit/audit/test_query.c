#include "tests/unit/audit/audit_fixture.h"

#include <pthread.h>

#include "services/audit/search/query.h"

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
    enum tg_code status;
    uint64_t next;
    bool more;
    size_t count;
    char first[2048];
    size_t bytes;
};
#define ANSWER                                                                                               \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER                                  \
    }

static void note(void *arg, enum tg_code status, const char *text, const Tg__QueryResponse *response)
{
    struct answer *answer = arg;
    (void)text;
    pthread_mutex_lock(&answer->lock);
    assert_false(answer->done);
    answer->done = true;
    answer->status = status;
    if (response != NULL) {
        answer->next = response->next_sequence;
        answer->more = response->more;
        answer->count = response->n_lines;
        for (size_t i = 0; i < response->n_lines; i++)
            answer->bytes += strlen(response->lines[i]);
        if (response->n_lines > 0)
            snprintf(answer->first, sizeof answer->first, "%s", response->lines[0]);
    }
    pthread_cond_signal(&answer->told);
    pthread_mutex_unlock(&answer->lock);
}

static void wait_answer(struct answer *answer)
{
    pthread_mutex_lock(&answer->lock);
    while (!answer->done)
        pthread_cond_wait(&answer->told, &answer->lock);
    pthread_mutex_unlock(&answer->lock);
}

static struct log_writer *log_open_now;
static struct query_engine *engine;
static struct secret *key;

static int open_engine(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    key = secret_new(RECORD_KEY_LEN);
    log_open_now = open_log(*state);
    return query_engine_open(&engine, *state, log_open_now, NULL) == TG_OK &&
                   query_engine_start(engine, NULL) == TG_OK
               ? 0
               : -1;
}

static int close_engine(void **state)
{
    query_engine_close(engine);
    log_open_now->ops->close(log_open_now);
    secret_free(key);
    return remove_directory(state);
}

static void report(const char *name, const char *user, uint64_t time_us)
{
    char event_name[64];
    char user_name[512];
    snprintf(event_name, sizeof event_name, "%s", name);
    snprintf(user_name, sizeof user_name, "%s", user);
    Tg__Event event = TG__EVENT__INIT;
    event.event = event_name;
    event.user = user_name;
    event.time_us = time_us;
    struct log_entry entry = {0};
    uint64_t first = 0;
    assert_int_equal(record_encode(&event, key, &entry.body, &entry.len, NULL), TG_OK);
    assert_int_equal(log_open_now->ops->append(log_open_now, &entry, 1, &first, NULL), TG_OK);
    free(entry.body);
    query_wake(engine);
}

static struct answer ask(Tg__QueryRequest *request)
{
    struct answer answer = ANSWER;
    if (request->limit == 0)
        request->limit = 500;
    query_submit(engine, request, 10000, note, &answer);
    wait_answer(&answer);
    return answer;
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    char bad_event[] = "login accepted";
    char long_user[600];
    memset(long_user, 'x', sizeof long_user);
    long_user[sizeof long_user - 1] = '\0';
    struct answer answer = ANSWER;
    query_submit(engine, &request, 10000, note, &answer); /* limit 0 */
    assert_int_equal(answer.status, TG_INVALID_ARGUMENT);
    request.limit = 501;
    assert_int_equal(ask(&request).status, TG_INVALID_ARGUMENT);
    request.limit = 1;
    request.event = bad_event;
    assert_int_equal(ask(&request).status, TG_INVALID_ARGUMENT);
    request = (Tg__QueryRequest)TG__QUERY_REQUEST__INIT;
    request.from_sequence = 1; /* of another log: nothing would be found here, and nobody would know why */
    assert_int_equal(ask(&request).status, TG_OUT_OF_RANGE);
    request = (Tg__QueryRequest)TG__QUERY_REQUEST__INIT;
    request.user = long_user;
    assert_int_equal(ask(&request).status, TG_INVALID_ARGUMENT);
}

static void test_no_value_passes_for_another_user(void **state)
{
    (void)state;
    char alice[] = "alice";
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.user = alice;
    report("login.refused", "eve\",\"user\":{\"name\":\"alice", 1);
    report("login.refused", "alicex", 1);
    report("login.refused", "xalice", 1);
    assert_int_equal(ask(&request).count, 0);
    report("login.refused", "alice", 1);
    assert_int_equal(ask(&request).count, 1);
}

static void test_filters(void **state)
{
    (void)state;
    char prefix[] = "login.", exact[] = "login.accepted", quoted_user[] = "o\"neil";
    report("login.accepted", "alice", 1000000);
    report("login.refused", "o\"neil", 2000000);
    report("loginx", "alice", 3000000);
    report("stream.opened", "alice", 4000000);
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    assert_int_equal(ask(&request).count, 4);
    request.event = prefix;
    assert_int_equal(ask(&request).count, 2);
    request.event = exact;
    assert_int_equal(ask(&request).count, 1);
    request = (Tg__QueryRequest)TG__QUERY_REQUEST__INIT;
    request.user = quoted_user;
    assert_int_equal(ask(&request).count, 1);
    request = (Tg__QueryRequest)TG__QUERY_REQUEST__INIT;
    request.since_us = 2000000;
    request.until_us = 4000000;
    struct answer answer = ask(&request);
    assert_int_equal(answer.count, 2);
    assert_non_null(strstr(answer.first, "login.refused"));
    assert_int_equal(answer.next, 4);
    assert_false(answer.more);
}

static void test_pages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 25; i++)
        report("login.accepted", "alice", 1);
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.limit = 10;
    size_t lines = 0;
    struct answer answer;
    unsigned pages = 0;
    do {
        answer = ask(&request);
        lines += answer.count;
        request.from_sequence = answer.next;
        pages++;
    } while (answer.more);
    assert_int_equal(lines, 25);
    assert_int_equal(pages, 3);
    assert_int_equal(ask(&request).count, 0);
}

static void test_answers_fit_a_message(void **state)
{
    (void)state;
    char user[257];
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    for (unsigned i = 0; i < 500; i++)
        report("login.accepted", user, 1);
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    struct answer answer = ask(&request);
    assert_true(answer.more);
    assert_in_range(answer.bytes, QUERY_BYTES_MAX / 2, QUERY_BYTES_MAX);
    request.from_sequence = answer.next;
    assert_int_equal(ask(&request).count, 500 - answer.count);
}

static void test_following_waits_for_a_match(void **state)
{
    (void)state;
    char alice[] = "alice";
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.user = alice;
    request.limit = 10;
    request.wait_ms = 60000;
    struct answer answer = ANSWER;
    query_submit(engine, &request, 60000, note, &answer);
    report("login.refused", "bob", 1);
    report("login.accepted", "alice", 1);
    wait_answer(&answer);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.next, 2);
}

static void test_following_ends_empty(void **state)
{
    (void)state;
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.wait_ms = 20;
    struct answer answer = ask(&request);
    assert_int_equal(answer.status, TG_OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(answer.next, 0);
}

static void test_stopping_answers_who_follows(void **state)
{
    (void)state;
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.limit = 1;
    request.wait_ms = 60000;
    struct answer waiting = ANSWER;
    query_submit(engine, &request, 60000, note, &waiting);
    query_engine_stop(engine);
    assert_true(waiting.done);
    assert_int_equal(waiting.status, TG_UNAVAILABLE);
    assert_int_equal(ask(&request).status, TG_RESOURCE_EXHAUSTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_requests_are_refused),
        TEST(test_no_value_passes_for_another_user),
        TEST(test_filters),
        TEST(test_pages),
        TEST(test_answers_fit_a_message),
        TEST(test_following_waits_for_a_match),
        TEST(test_following_ends_empty),
        TEST(test_stopping_answers_who_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
