/* Two audit services with a log each. When one acknowledgement of two is enough, logins go on without one of
 * them, and it gets what it missed; when both must acknowledge, nobody gets in without it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "tests/integration/harness.h"

static struct instance *bank;
static struct process second;

/* A copy of a configuration file with every `from` replaced. */
static void rewrite(const char *in, const char *out, const char *from, const char *to)
{
    char *text = file_text(instance_path(bank, "config/%s.yaml", in));
    FILE *file = fopen(instance_path(bank, "config/%s.yaml", out), "we");
    size_t len = strlen(from);
    char *at = text;
    const char *hit;

    assert_non_null(file);
    assert_non_null(strstr(text, from));
    while ((hit = strstr(at, from)) != NULL) {
        fprintf(file, "%.*s%s", (int)(hit - at), at, to);
        at += (size_t)(hit - at) + len;
    }
    fputs(at, file);
    assert_int_equal(fclose(file), 0);
    free(text);
}

static void second_start(void)
{
    char config[PROCESS_PATH_MAX];
    const char *log = instance_path(bank, "log/audit-2.log");
    const char *const argv[] = {program("tg-audit"), "--config", config, NULL};

    snprintf(config, sizeof(config), "%s", instance_path(bank, "config/audit-2.yaml"));
    process_start(&second, "audit-2", log, log, NULL, argv);
    if (!process_await(&second, "\"event\":\"service.ready\"", READY_TIMEOUT_MS)) {
        bank->failed = true;
        fail_msg("the second audit service was not ready; its log is %s", log);
    }
}

static void bank_start(const char *must_ack)
{
    static const char *const reporters[] = {"gateway", "key-store", "radius-bridge", "ticket-resolver"};
    char services[256];

    bank = instance_new("ipc");
    assert_int_equal(mkdir(instance_path(bank, "data/audit-2"), 0700), 0);
    rewrite("audit", "audit-2", "data/audit\"", "data/audit-2\"");
    rewrite("audit-2", "audit-2", "run/audit-", "run/audit2-");
    rewrite("tgctl", "tgctl-2", "run/audit-", "run/audit2-");
    snprintf(services, sizeof(services), "replicas: [{endpoints: [\"ipc://%s\"]}]\n  must_ack: %s",
             instance_path(bank, "run/audit2-service.sock"), must_ack);
    for (size_t i = 0; i < sizeof(reporters) / sizeof(reporters[0]); i++)
        rewrite(reporters[i], reporters[i], "must_ack: 1", services);
    second_start();
    instance_start(bank);
    part_start(bank, PART_WEB);
    shield_fill(bank, "s", "alice", "alice", 40);
}

static void bank_end(void)
{
    assert_int_equal(process_stop(&second, READY_TIMEOUT_MS), 0);
    instance_end(bank);
}

static void expect_login(void)
{
    RESULT result = LOGIN(bank, "alice", "s");
    assert_logged_in(bank, &result);
}

/* Refused, and the gateway's log says why. */
static void expect_refusal(const char *reason)
{
    RESULT result = LOGIN(bank, "alice", "s");

    if (result.code != EXIT_TRY_LATER)
        assert_refused(bank, &result, EXIT_REFUSED);
    if (!file_contains(instance_path(bank, "log/gateway.log"), reason)) {
        bank->failed = true;
        fail_msg("%s does not say: %s", instance_path(bank, "log/gateway.log"), reason);
    }
}

/* How many logins the second log holds. */
static size_t logins_in_second(void)
{
    RESULT result = RUN(bank, program("tgctl"), "--config", instance_path(bank, "config/tgctl-2.yaml"),
                        "--json", "audit", "list", "--event", "login.accepted");
    size_t count = 0;

    assert_int_equal(result.code, 0);
    for (const char *at = strchr(result.out, '\n'); at != NULL; at = strchr(at + 1, '\n'))
        count++;
    return count;
}

static void test_one_of_two_is_enough(void **state)
{
    (void)state;
    bank_start("1");
    expect_login();
    process_kill(&second);
    expect_login();
    expect_login();
    second_start();
    for (int tries = 0; logins_in_second() < 3; tries++)
        assert_true(tries < 1000); /* it is caught up by itself */
    part_kill(bank, PART_AUDIT);
    expect_login(); /* the other one alone */
    process_kill(&second);
    part_await_health(bank, PART_GATEWAY, false);
    expect_refusal("fewer audit services can be reached than must hold every event");
    second_start();
    part_await_health(bank, PART_GATEWAY, true);
    expect_login();
    part_start(bank, PART_AUDIT);
    bank_end();
}

static void recover_and_log_in(void)
{
    part_await_health(bank, PART_GATEWAY, true);
    for (int tries = 0; tries < 10; tries++) {
        RESULT result = LOGIN(bank, "alice", "s");

        if (result.code == EXIT_OK)
            return;
    }
    expect_login();
}

static void test_both_must_acknowledge(void **state)
{
    (void)state;
    bank_start("2");
    expect_login();
    process_kill(&second);
    part_await_health(bank, PART_GATEWAY, false);
    expect_refusal("fewer audit services can be reached than must hold every event");
    second_start();
    recover_and_log_in();

    process_signal(&second, SIGSTOP); /* connected, but it answers nothing */
    size_t before = audit_count(bank, "login.accepted");
    expect_refusal("within 1500 ms: 1 of the 2 audit services that must have the event: audit-2");
    assert_int_equal(audit_count(bank, "login.accepted"), before);
    process_signal(&second, SIGCONT);
    recover_and_log_in();
    bank_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_two_is_enough),
        cmocka_unit_test(test_both_must_acknowledge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
