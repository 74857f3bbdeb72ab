/* HTTP without TLS, asked by curl and by raw sockets. */
#include "http_fixture.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/service/syscalls.h"

static int setup(void **state)
{
    struct rig *rig = rig_new();
    rig_serve(rig, NULL);
    *state = rig;
    return 0;
}

static int setup_closed(void **state)
{
    *state = rig_new();
    return 0;
}

static int teardown(void **state)
{
    return rig_free(*state);
}

static void what_is_not_in_the_table_is_refused(void **state)
{
    struct rig *rig = *state;
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/", "404\n404");
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/hello/", "404\n404");
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/hell", "404\n404");
    assert_says(rig, "$C --path-as-is -w '%{http_code}' localhost:$PORT/../hello", "404\n404");
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/api/v1/keys//status", "404\n404");
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/api/v1/keys/a/b/status", "404\n404");
    assert_says(rig, "$C -w '%{http_code}' localhost:$PORT/$(head -c 600 /dev/zero | tr '\\0' a)",
                "414\n414");
    assert_says(rig, "$C -X DELETE -w '%{http_code}' localhost:$PORT/hello", "405\n405");
    assert_says(rig, "$C -X FROB -w '%{http_code}' localhost:$PORT/hello", "405\n405");
    assert_says(rig, "$C -X POST -D - -o /dev/null localhost:$PORT/hello | tr -d '\\r' | grep -i ^allow",
                "Allow: GET, HEAD\n");
    /* HEAD only where the row says so: what changes something must not be done for nobody to hear of it */
    assert_says(rig, "$C -I localhost:$PORT/taken | tr -d '\\r' | grep -iE '^(HTTP|allow)'",
                "HTTP/1.1 405 Method Not Allowed\nAllow: GET\n");
    assert_int_equal(atomic_load(&rig->handled), 0);
}

static void rows_are_found_and_arguments_given(void **state)
{
    struct rig *rig = *state;
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
    assert_says(rig, "$C -I localhost:$PORT/hello | tr -d '\\r' | grep -iE '^(HTTP|content)'",
                "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 6\n");
    assert_says(rig, "$C \"localhost:$PORT/api/v1/keys/sae-7/status?size=2&number=3%201\"",
                "got of sae-7, number 3 1\n");
    assert_says(rig, "$C -X POST localhost:$PORT/api/v1/keys/sae%207/status?numbers=3",
                "posted of sae 7, number none\n");
    assert_says(rig, "$C localhost:$PORT/api/v1/keys/a/status?number", "got of a, number \n");
    assert_says(rig, "$C localhost:$PORT/peer", "cn= san=0 other=0\n");
    assert_says(rig, "$C -T /dev/null -w '%{http_code}' localhost:$PORT/echo", "200");
}

static void bodies_are_bounded(void **state)
{
    struct rig *rig = *state;
    assert_says(rig, "$C -d abc localhost:$PORT/echo", "abc");
    assert_says(rig,
                "head -c 65536 /dev/zero | $C --data-binary @- -o /dev/null -w '%{size_download}' "
                "localhost:$PORT/echo",
                "65536");
    assert_says(rig,
                "head -c 30000 /dev/zero | $C -H 'Transfer-Encoding: chunked' --data-binary @- -o "
                "/dev/null -w '%{size_download}' localhost:$PORT/echo",
                "30000");
    assert_int_equal(rig->largest, 65536);
    assert_says(rig,
                "head -c 65537 /dev/zero | $C --data-binary @- -H 'Expect: 100-continue' -w '%{http_code}' "
                "localhost:$PORT/echo",
                "413\n413");
    /* 52 is curl's "nothing came", 55 and 56 are that the connection broke. */
    int code = run(rig, "head -c 900000 /dev/zero | $C -H 'Transfer-Encoding: chunked' --data-binary @- "
                        "localhost:$PORT/echo 2>/dev/null");
    assert_true(code == 52 || code == 55 || code == 56);
    assert_int_equal(rig->largest, 65536);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
}

/* The bound holds before a byte of the body is sent. */
static void a_large_body_is_refused_before_it_comes(void **state)
{
    struct rig *rig = *state;
    static const char *const lengths[] = {"65537", "18446744073709551615"};
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        int fd = dial(rig);
        int len = snprintf(text, sizeof text, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n",
                           lengths[i]);
        say(fd, text, (size_t)len);
        assert_non_null(strstr(hear_all(rig, fd), "HTTP/1.1 413 "));
        close(fd);
    }
}

static void garbage_closes_one_connection(void **state)
{
    struct rig *rig = *state;
    char *long_header = calloc(1, 100000);
    int patient = dial(rig);
    int fd = dial(rig);
    say(fd, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15);
    hear_all(rig, fd);
    assert_null(strstr(rig->text, "200"));
    close(fd);
    fd = dial(rig);
    say(fd, "GET /hello HTTP/1.1\r\nX: ", 24);
    memset(long_header, 'a', 99999);
    (void)!send(fd, long_header, 99999, MSG_NOSIGNAL);
    hear_all(rig, fd);
    assert_null(strstr(rig->text, "200 OK"));
    close(fd);
    say(patient, "GET /hello HTTP/1.0\r\n\r\n", 23);
    assert_non_null(strstr(hear_all(rig, patient), "hello"));
    close(patient);
    free(long_header);
}

static void who_is_silent_is_let_go(void **state)
{
    struct rig *rig = *state;
    rig_serve(rig, &(struct http_options){.silence_max_s = 1});
    int fd = dial(rig);
    say(fd, "GET /hel", 8);
    hear_all(rig, fd); /* would wait for ever */
    assert_null(strstr(rig->text, "200"));
    close(fd);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
}

static void one_address_cannot_take_all_connections(void **state)
{
    struct rig *rig = *state;
    int held[4];
    rig_serve(rig, &(struct http_options){.per_address_max = 4});
    for (int i = 0; i < 4; i++)
        say(held[i] = dial(rig), "GET /held HTTP/1.0\r\n\r\n", 22);
    (void)rig_await_held(rig, 4);
    int fd = dial(rig);
    (void)send(fd, "GET /hello HTTP/1.0\r\n\r\n", 23, MSG_NOSIGNAL);
    assert_null(strstr(hear_all(rig, fd), "hello"));
    close(fd);
    for (size_t i = 0; i < 4; i++) {
        http_reply_text(rig->held[i], 200, "number %zu", i);
        assert_non_null(strstr(hear_all(rig, held[i]), "number "));
        close(held[i]);
    }
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
}

static void an_answer_may_come_later(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);
    say(fd, "GET /held HTTP/1.0\r\n\r\n", 22);
    struct http_request *request = rig_await_held(rig, 1);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n"); /* nobody waits for it */
    http_reply(request, 201, "text/plain", "late\n", 5, count_release, rig);
    assert_non_null(strstr(hear_all(rig, fd), "HTTP/1.1 201 "));
    assert_non_null(strstr(rig->text, "\r\n\r\nlate\n"));
    close(fd);
    assert_int_equal(run(rig, "for i in 1 2 3; do $C localhost:$PORT/hello; done"), 0);
}

static void a_caller_who_has_left_harms_nobody(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);
    say(fd, "GET /held HTTP/1.0\r\n\r\n", 22);
    struct http_request *request = rig_await_held(rig, 1);
    close(fd);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
    http_reply(request, 200, "text/plain", "late\n", 5, count_release, rig);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
    assert_true(http_server_stop(rig->server, 0));
    rig->server = NULL;
    assert_int_equal(atomic_load(&rig->released), 3);
}

static void *answer_soon(void *arg)
{
    http_reply_text(arg, 200, "just in time");
    return NULL;
}

static void stopping_waits_for_answers(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);
    pthread_t thread;
    say(fd, "GET /held HTTP/1.0\r\n\r\n", 22);
    assert_int_equal(pthread_create(&thread, NULL, answer_soon, rig_await_held(rig, 1)), 0);
    assert_true(http_server_stop(rig->server, 60000));
    rig->server = NULL;
    pthread_join(thread, NULL);
    close(fd);
}

static void stopping_does_not_wait_for_ever(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);
    say(fd, "GET /held HTTP/1.0\r\n\r\n", 22);
    struct http_request *request = rig_await_held(rig, 1);
    assert_false(http_server_stop(rig->server, 1));
    rig->server = NULL;
    http_reply(request, 200, "text/plain", "late\n", 5, count_release, rig); /* into the void */
    assert_int_equal(atomic_load(&rig->released), 1);
    assert_null(strstr(hear_all(rig, fd), "late"));
    close(fd);
}

static void many_at_once(void **state)
{
    struct rig *rig = *state;
    assert_says(rig,
                "for c in 1 2 3 4 5 6 7 8; do (for i in 1 2 3 4 5 6 7 8 9 10; do echo \"url = "
                "localhost:$PORT/hello\"; done | $C -K -) & done; wait",
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n"
                "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n");
    assert_int_equal(atomic_load(&rig->handled), 80);
}

static void bad_addresses_are_named(void **state)
{
    static const char *const bad[] = {
        "", "9464", "127.0.0.1", "127.0.0.1:", ":9464", "[::1]", "127.0.0.1:http"};
    struct tg_error err;
    struct http_server *server = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_options options = {.address = bad[i], .routes = rig_routes};
        assert_int_equal(http_server_open(&server, &options, &err), TG_INVALID_ARGUMENT);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void a_port_in_use_is_named(void **state)
{
    struct rig *rig = *state;
    char address[32];
    struct tg_error err;
    struct http_server *server = NULL;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", http_server_port(rig->server));
    struct http_options options = {.address = address, .routes = rig_routes};
    assert_int_equal(http_server_open(&server, &options, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, address));
    assert_non_null(strstr(err.text, "in use"));
}

/* As in a service: bound before the process is sealed, served after. */
static void it_works_under_the_system_call_filter(void **state)
{
    struct rig *rig = *state;
    int gate[2];
    char byte;
    rig_open(rig, NULL);
    assert_int_equal(pipe(gate), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct tg_error err;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(gate[1]);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (syscalls_forbid(&err) != TG_OK || http_server_start(rig->server, &err) != TG_OK)
            _exit(1);
        (void)!read(gate[0], &byte, 1);
        _exit(http_server_stop(rig->server, 1000) ? 0 : 2);
    }
    close(gate[0]);
    assert_says(rig, "$C localhost:$PORT/hello", "hello\n");
    close(gate[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_not_in_the_table_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_are_found_and_arguments_given, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_body_is_refused_before_it_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_closes_one_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_silent_is_let_go, setup_closed, teardown),
        cmocka_unit_test_setup_teardown(one_address_cannot_take_all_connections, setup_closed, teardown),
        cmocka_unit_test_setup_teardown(an_answer_may_come_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_caller_who_has_left_harms_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_waits_for_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_does_not_wait_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
        cmocka_unit_test(bad_addresses_are_named),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(it_works_under_the_system_call_filter, setup_closed, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
