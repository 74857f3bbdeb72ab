/* What a service tells monitoring over HTTP, asked by curl. */
#include "service_tiny.h"

#include <signal.h>

/* Starts it with a monitoring listener on a free port; answers that. */
static int run_monitored(struct child *child, const char *more)
{
    char config[256];
    (void)snprintf(config, sizeof config, "http: 127.0.0.1:0\n%s", more);
    child_configure(child, config);
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "monitor.listening"));
    const char *text = strstr(child->line, "\"port\":");
    assert_non_null(text);
    int port = atoi(text + strlen("\"port\":"));
    assert_true(port > 0 && child_logs(child, "service.ready"));
    return port;
}

static char said[64 * 1024];

static const char *ask(int port, const char *path)
{
    char command[256];
    (void)snprintf(command, sizeof command,
                   "curl -sS -m 60 --noproxy '*' -w '%%{http_code} %%{content_type}' http://127.0.0.1:%d%s",
                   port, path);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    size_t len = fread(said, 1, sizeof said - 1, pipe);
    said[len] = '\0';
    if (pclose(pipe) != 0)
        fail_msg("%s failed", command);
    return said;
}

static void says_line(const char *line)
{
    if (strstr(said, line) == NULL)
        fail_msg("\"%s\" is missing in\n%s", line, said);
}

static void alive_and_ready(void **state)
{
    struct child *child = *state;
    int port = run_monitored(child, "");
    assert_string_equal(ask(port, "/healthz"), "alive\n200 text/plain; charset=utf-8");
    assert_string_equal(ask(port, "/readyz"), "ready\n200 text/plain; charset=utf-8");
    assert_string_equal(ask(port, "/"), "404\n404 text/plain");
    assert_string_equal(ask(port, "/healthz -I -o /dev/null"), "200 text/plain; charset=utf-8");
    assert_string_equal(ask(port, "/healthz -X POST"), "405\n405 text/plain");
}

static void alive_but_not_ready(void **state)
{
    struct child *child = *state;
    int port = run_monitored(child, "reason: the database is away\n");
    assert_string_equal(ask(port, "/healthz"), "alive\n200 text/plain; charset=utf-8");
    assert_string_equal(ask(port, "/readyz"),
                        "not ready: the database is away\n503 text/plain; charset=utf-8");
    ask(port, "/metrics");
    says_line("\nticketgate_serving 0\n");
}

static void metrics_are_prometheus_text(void **state)
{
    struct child *child = *state;
    int port = run_monitored(child, "");
    assert_health(child, "", TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING, "");
    assert_health(child, "", TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING, "");
    /* A call is counted once its answer is on its way, which may be a moment after it has come. */
    do
        ask(port, "/metrics");
    while (strstr(said, "{method=\"tg.Health/Check\",code=\"OK\"} 2\n") == NULL);
    says_line("ticketgate_info{service=\"tiny\",version=\"" TG_VERSION "\"} 1\n");
    says_line("# TYPE ticketgate_rpc_calls_total counter\nticketgate_rpc_calls_total{method=");
    says_line("\nticketgate_serving 1\n");
    says_line("# HELP tiny_moods What it feels.\n# TYPE tiny_moods gauge\n"
              "tiny_moods{mood=\"so \\\"so\\\"\\\\\\n\",of=\"tiny\"} 7\n"
              "tiny_moods{mood=\"good\"} 18446744073709551615\n");
    says_line("200 text/plain; version=0.0.4; charset=utf-8");
}

static void calls_of_strangers_are_counted_apart(void **state)
{
    struct child *child = *state;
    int port = run_monitored(child, "");
    Tg__QkudListRequest message = TG__QKUD_LIST_REQUEST__INIT;
    const struct rpc_request request = {.service = &tg__key_store__descriptor,
                                        .method = "QkudList",
                                        .message = &message.base,
                                        .budget_ms = 20000};
    ProtobufCMessage *answer = NULL;
    child_dial(child);
    assert_int_equal(rpc_call_wait(child->client, &request, &answer, NULL), TG_UNIMPLEMENTED);
    do
        ask(port, "/metrics");
    while (strstr(said, "{method=\"\",code=\"UNIMPLEMENTED\"} 1\n") == NULL);
}

/* From SIGTERM to the end it is alive and not ready. */
static void draining_is_not_ready(void **state)
{
    struct child *child = *state;
    int port = run_monitored(child, "drain_waits: true\ndrain_timeout: 60s\n");
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "tiny.drain"));
    assert_string_equal(ask(port, "/readyz"),
                        "not ready: the service is shutting down\n503 text/plain; charset=utf-8");
    assert_string_equal(ask(port, "/healthz"), "alive\n200 text/plain; charset=utf-8");
}

static void an_address_that_cannot_be_had_is_named(void **state)
{
    struct child *child = *state;
    void *made = NULL;
    char more[64];
    int port = run_monitored(child, "");
    assert_int_equal(child_setup(&made), 0);
    (void)snprintf(more, sizeof more, "http: 127.0.0.1:%d\n", port);
    child_configure(made, more);
    child_start(made, "--config", ((struct child *)made)->config, NULL);
    assert_true(child_logs(made, "service.failed"));
    (void)snprintf(more, sizeof more, "cannot listen on 127.0.0.1:%d", port);
    assert_non_null(strstr(((struct child *)made)->line, more));
    assert_int_equal(child_end(made), 1);
    assert_int_equal(child_teardown(&made), 0);
}

int main(int argc, char **argv)
{
    tiny_main(argc, argv);
#define T(f) cmocka_unit_test_setup_teardown(f, child_setup, child_teardown)
    const struct CMUnitTest tests[] = {
        T(alive_and_ready),
        T(alive_but_not_ready),
        T(metrics_are_prometheus_text),
        T(calls_of_strangers_are_counted_apart),
        T(draining_is_not_ready),
        T(an_address_that_cannot_be_had_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
