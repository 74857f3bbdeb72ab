/* The life of a service: from its arguments through ready, reload and drain to its end. */
#include "service_tiny.h"

#include <signal.h>

#include "common/file.h"

enum {
    SERVING = TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
    NOT_SERVING = TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
    SERVICE_UNKNOWN = TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

static void assert_ends(struct child *child, int code, const char *out, const char *err)
{
    assert_int_equal(child_end(child), code);
    assert_non_null(strstr(child_rest(child, child->out), out));
    assert_non_null(strstr(child_rest(child, child->err), err));
    fclose(child->out);
    fclose(child->err);
    child->out = child->err = NULL;
}

static void wrong_arguments_end_with_64(void **state)
{
    struct child *child = *state;
    child_start(child, NULL);
    assert_ends(child, 64, "", "tg-tiny: --config FILE is missing\nTry 'tg-tiny --help'.\n");
    child_start(child, "--check-config", NULL);
    assert_ends(child, 64, "", "--config FILE is missing");
    child_start(child, "--config", NULL);
    assert_ends(child, 64, "", "Try 'tg-tiny --help'.\n");
    child_start(child, "--confgi", child->config, NULL);
    assert_ends(child, 64, "", "--confgi");
    child_start(child, "--config", child->config, "--config", child->config, NULL);
    assert_ends(child, 64, "", "--config is given twice");
    child_start(child, "--config", child->config, child->config, NULL);
    assert_ends(child, 64, "", "takes options only");
}

static void a_bad_configuration_ends_with_78(void **state)
{
    struct child *child = *state;
    char expected[160];
    static const struct {
        const char *more, *place;
    } cases[] = {
        {"log_level: loud\n", ":2:12: log_level: \"loud\" is unknown"},
        {"drain_waits: 1\n", ":2:14: drain_waits: "},
        {"\n\nresaon: x\n", ":4:1: resaon: unknown key; did you mean \"reason\"?"},
        {"locked_memory: 3MiB\n", ":1:1: locked_memory: must be a power of two"},
        {"calls_in_flight: 0\n", ":2:18: calls_in_flight: is 0; must be 1 to 4096"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        child_configure(child, cases[i].more);
        (void)snprintf(expected, sizeof expected, "tg-tiny: %s%s", child->config, cases[i].place);
        child_start(child, "--config", child->config, "--check-config", NULL);
        assert_ends(child, 78, "", expected);
        child_start(child, "--config", child->config, NULL);
        assert_ends(child, 78, "", expected);
    }
    child_start(child, "--check-config", "--config", "/nonexistent/tiny.yaml", NULL);
    assert_ends(child, 78, "", "tg-tiny: /nonexistent/tiny.yaml:1:1: cannot be opened");
}

static void questions_are_answered(void **state)
{
    struct child *child = *state;
    char expected[160];
    (void)snprintf(expected, sizeof expected, "configuration %s is good\n", child->config);
    child_start(child, "--check-config", "--config", child->config, NULL);
    assert_ends(child, 0, expected, "");
    child_start(child, "--version", NULL);
    assert_ends(child, 0, "tg-tiny (TicketGate) " TG_VERSION "\n", "");
    child_start(child, "--help", NULL);
    assert_ends(child, 0, "Does nothing, in good order.\n", "");
    child_start(child, "--help", NULL);
    assert_ends(child, 0, "Examples:\n  tg-tiny --config tiny.yaml\n", "");
    child_start(child, "--config-help", NULL);
    assert_ends(child, 0, "listeners[].address: ", "");
    child_start(child, "--config-help", NULL);
    assert_ends(child, 0, "drain_waits: true or false; default false\n", "");
}

static void who_cannot_open_ends_with_1(void **state)
{
    struct child *child = *state;
    child_configure(child, "fail_at: open\n");
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.failed"));
    assert_non_null(
        strstr(child->line, "\"code\":\"NOT_FOUND\",\"error\":\"the disk is gone: put it back\""));
    assert_string_equal(child_rest(child, child->out), ""); /* and nothing that was not opened is closed */
    assert_string_equal(child_rest(child, child->err), "");
    assert_int_equal(child_end(child), 1);
}

static void who_cannot_listen_or_start_is_closed_again(void **state)
{
    struct child *child = *state;
    char address[sizeof child->address];
    memcpy(address, child->address, sizeof address);
    (void)snprintf(child->address, sizeof child->address, "ipc://%s/none/socket", child->directory);
    child_configure(child, "");
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.failed"));
    assert_non_null(strstr(child->line, child->address));
    assert_ends(child, 1, "\"event\":\"tiny.closed\"", "");

    memcpy(child->address, address, sizeof address);
    child_configure(child, "fail_at: start\n");
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.failed"));
    assert_non_null(strstr(child->line, "no thread would start"));
    assert_ends(child, 1, "\"event\":\"tiny.closed\"", "");
}

static void a_broken_invariant_ends_with_70(void **state)
{
    struct child *child = *state;
    child_configure(child, "fail_at: invariant\n");
    child_start(child, "--config", child->config, NULL);
    assert_ends(child, 70, "", "\"event\":\"invariant.broken\"");
}

static void ready_is_said_and_health_answers(void **state)
{
    struct child *child = *state;
    char expected[64];
    child_run(child);
    (void)snprintf(expected, sizeof expected, "\"version\":\"%s\",\"pid\":%ld}", TG_VERSION,
                   (long)child->pid);
    assert_non_null(strstr(child->line, expected));
    assert_health(child, "", SERVING, "");
    assert_health(child, "tiny", SERVING, "");
    assert_health(child, "gateway", SERVICE_UNKNOWN, "");
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "service.draining"));
    assert_true(child_logs(child, "tiny.closed"));
    assert_true(child_logs(child, "service.stopped"));
    assert_ends(child, 0, "", "");
}

static void a_signal_to_end_is_as_good_from_the_keyboard(void **state)
{
    struct child *child = *state;
    child_run(child);
    assert_int_equal(kill(child->pid, SIGINT), 0);
    assert_true(child_logs(child, "service.stopped"));
    assert_ends(child, 0, "", "");
}

static void reloading_changes_what_may_change(void **state)
{
    struct child *child = *state;
    child_run(child);
    assert_health(child, "", SERVING, "");
    child_configure(child, "reason: the database is away\nlog_level: debug\n");
    assert_int_equal(kill(child->pid, SIGHUP), 0);
    assert_true(child_logs(child, "tiny.reload")); /* a line for debugging */
    assert_true(child_logs(child, "config.reloaded"));
    assert_health(child, "", NOT_SERVING, "the database is away");
    assert_health(child, "tiny", NOT_SERVING, "the database is away");
    child_configure(child, "");
    assert_int_equal(kill(child->pid, SIGHUP), 0);
    assert_true(child_logs(child, "config.reloaded"));
    assert_health(child, "", SERVING, "");
}

static void reloading_what_is_not_good_changes_nothing(void **state)
{
    struct child *child = *state;
    child_configure(child, "reason: still the same\n");
    child_run(child);
    child_configure(child, "reason: another\nnumber: 3\n");
    assert_int_equal(kill(child->pid, SIGHUP), 0);
    assert_true(child_logs(child, "config.refused"));
    assert_non_null(strstr(child->line, ":3:1: number: unknown key"));
    assert_health(child, "", NOT_SERVING, "still the same");
    assert_int_equal(unlink(child->config), 0);
    assert_int_equal(kill(child->pid, SIGHUP), 0);
    assert_true(child_logs(child, "config.refused"));
    assert_health(child, "", NOT_SERVING, "still the same");
}

struct command {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    enum tg_code status;
};

static void command_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct command *command = arg;
    (void)text;
    (void)response;
    pthread_mutex_lock(&command->lock);
    command->status = status;
    command->done = true;
    pthread_cond_signal(&command->ended);
    pthread_mutex_unlock(&command->lock);
}

static void send_command(struct child *child, const char *text, struct command *command)
{
    Tg__QkudRevokeRequest message = TG__QKUD_REVOKE_REQUEST__INIT;
    message.qkud_id = pb_string(text);
    const struct rpc_request request = {.service = &tg__key_store__descriptor,
                                        .method = "QkudRevoke",
                                        .message = &message.base,
                                        .budget_ms = 60000};
    *command = (struct command){.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    if (child->client == NULL)
        child_dial(child);
    rpc_start(child->client, &request, command_done, command);
}

static enum tg_code await_command(struct command *command)
{
    pthread_mutex_lock(&command->lock);
    while (!command->done)
        pthread_cond_wait(&command->ended, &command->lock);
    pthread_mutex_unlock(&command->lock);
    return command->status;
}

static void a_call_under_way_is_answered_before_the_end(void **state)
{
    struct child *child = *state;
    struct command held;
    struct command go;
    child_configure(child, "drain_waits: true\ndrain_timeout: 30s\n");
    child_run(child);
    send_command(child, "hold", &held);
    assert_true(child_logs(child, "tiny.held"));
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "tiny.drain"));
    assert_health(child, "", NOT_SERVING, "the service is shutting down");
    send_command(child, "go", &go);
    assert_int_equal(await_command(&held), TG_OK);
    assert_int_equal(await_command(&go), TG_OK);
    assert_true(child_logs(child, "service.stopped"));
    assert_ends(child, 0, "", "");
}

static void a_call_that_nobody_answers_does_not_hold_up_the_end(void **state)
{
    struct child *child = *state;
    struct command held;
    child_configure(child, "drain_answers: false\ndrain_timeout: 100ms\n");
    child_run(child);
    send_command(child, "hold", &held);
    assert_true(child_logs(child, "tiny.held"));
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "service.undrained"));
    assert_true(child_logs(child, "service.stopped"));
    assert_ends(child, 0, "", ""); /* also when the service answers once its server is closed */
    assert_int_not_equal(await_command(&held), TG_OK);
}

static void the_second_signal_ends_at_once(void **state)
{
    struct child *child = *state;
    child_configure(child, "drain_waits: true\ndrain_timeout: 10m\n");
    child_run(child);
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "tiny.drain"));
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_ends(child, -SIGTERM, "", "");
}

static void the_pid_file_is_there_while_it_is_ready(void **state)
{
    struct child *child = *state;
    char text[128];
    (void)snprintf(text, sizeof text, "pid_file: %s\n", "tiny.pid");
    child_configure(child, text);
    child_run(child);
    char *written = NULL;
    size_t len = 0;
    assert_int_equal(file_read(child->pid_file, 64, &written, &len, NULL), TG_OK);
    (void)snprintf(text, sizeof text, "%ld\n", (long)child->pid);
    assert_string_equal(written, text);
    free(written);
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "service.stopped"));
    assert_int_equal(access(child->pid_file, F_OK), -1);
    assert_ends(child, 0, "", "");
}

#define SERVICE_TEST(f) cmocka_unit_test_setup_teardown(f, child_setup, child_teardown)

int main(int argc, char **argv)
{
    tiny_main(argc, argv);
    const struct CMUnitTest tests[] = {
        SERVICE_TEST(wrong_arguments_end_with_64),
        SERVICE_TEST(a_bad_configuration_ends_with_78),
        SERVICE_TEST(questions_are_answered),
        SERVICE_TEST(who_cannot_open_ends_with_1),
        SERVICE_TEST(who_cannot_listen_or_start_is_closed_again),
        SERVICE_TEST(a_broken_invariant_ends_with_70),
        SERVICE_TEST(ready_is_said_and_health_answers),
        SERVICE_TEST(a_signal_to_end_is_as_good_from_the_keyboard),
        SERVICE_TEST(reloading_changes_what_may_change),
        SERVICE_TEST(reloading_what_is_not_good_changes_nothing),
        SERVICE_TEST(a_call_under_way_is_answered_before_the_end),
        SERVICE_TEST(a_call_that_nobody_answers_does_not_hold_up_the_end),
        SERVICE_TEST(the_second_signal_ends_at_once),
        SERVICE_TEST(the_pid_file_is_there_while_it_is_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
