/* kill -9 of each service in the middle of 50 logins: nothing that was acknowledged is lost, and no ticket
 * opens twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "tests/integration/harness.h"

enum { LOGINS = 50, RUNNERS = 5, KILL_AFTER = 15 };

static struct instance *bank;

static int setup(void **state)
{
    (void)state;
    bank = instance_new("ipc");
    instance_set(bank, "radius-bridge", "dead_time", "1s");
    instance_start(bank);
    part_start(bank, PART_WEB);
    for (int i = 0; i < RUNNERS; i++) { /* five rounds of ten logins each, and some more for recovery */
        char name[32];

        snprintf(name, sizeof(name), "runner-%d", i);
        shield_fill(bank, name, "alice", "alice", 100);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    return 0;
}

static void start_runner(struct process *client, int number)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    const struct process_options options = {.input = instance_path(bank, "request.http")};
    char shield[32];
    char target[32];
    size_t count;

    snprintf(shield, sizeof(shield), "runner-%d", number);
    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->web_port);
    count = login_arguments(bank, "alice", shield, argv);
    argv[count++] = "--json";
    argv[count++] = "-W";
    argv[count++] = target;
    run_start(bank, client, &options, argv);
}

/* The session that a client was welcomed to, as it said on stderr; empty when it was not. */
static void welcomed_session(const char *text, char session[33])
{
    const char *found = strstr(text, "\"session\":\"");

    session[0] = '\0';
    if (found != NULL)
        snprintf(session, 33, "%s", found + strlen("\"session\":\""));
}

/* Runs LOGINS logins, RUNNERS at a time, and kills `part` once on the way. Returns how many were welcomed;
 * their sessions are kept. */
static size_t log_in_while_killing(enum part part, char sessions[LOGINS][33])
{
    struct process clients[RUNNERS] = {0};
    size_t welcomed = 0;

    for (int started = 0; started < LOGINS + RUNNERS; started++) {
        int number = started % RUNNERS;

        if (started >= RUNNERS) {
            RESULT result = run_end(bank, &clients[number], LOGIN_TIMEOUT_MS);

            welcomed_session(result.err, sessions[welcomed]);
            welcomed += sessions[welcomed][0] != '\0';
        }
        if (started < LOGINS)
            start_runner(&clients[number], number);
        if (started == KILL_AFTER) {
            part_kill(bank, part);
            part_start(bank, part);
        }
    }
    return welcomed;
}

/* Every session that a client was welcomed to stands in the log. */
static void assert_log_holds(size_t count, char sessions[LOGINS][33])
{
    for (size_t i = 0; i < count; i++) {
        json_t *lines = AUDIT(bank, "--event", "login.accepted", "--session", sessions[i]);

        if (json_array_size(lines) != 1) {
            bank->failed = true;
            fail_msg("session %s stands in the log %zu times", sessions[i], json_array_size(lines));
        }
        json_decref(lines);
    }
}

/* No ticket stands in two events of this kind. */
static void assert_each_ticket_once(const char *event)
{
    json_t *lines = AUDIT(bank, "--event", event);
    json_t *seen = json_object();

    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *ticket = audit_text(json_array_get(lines, i), "unmapped.ticket_hmac");

        assert_non_null(ticket);
        if (json_object_get(seen, ticket) != NULL) {
            bank->failed = true;
            fail_msg("a ticket stands in two %s", event);
        }
        json_object_set_new(seen, ticket, json_true());
    }
    assert_true(json_array_size(lines) > 0);
    json_decref(seen);
    json_decref(lines);
}

static void survives(enum part part)
{
    static char sessions[LOGINS][33];
    size_t welcomed = log_in_while_killing(part, sessions);

    assert_true(welcomed >= KILL_AFTER / 2); /* it went on, before and after */
    part_await_health(bank, PART_GATEWAY, true);
    RESULT verified = TGCTL(bank, "audit", "verify");
    assert_int_equal(verified.code, 0);
    assert_log_holds(welcomed, sessions);
    assert_each_ticket_once("login.accepted");
    for (int tries = 0;; tries++) { /* breakers and dead times run out */
        RESULT again = LOGIN(bank, "alice", "runner-0");

        if (again.code == EXIT_OK)
            break;
        if (tries == 10)
            assert_logged_in(bank, &again);
    }
}

static void test_audit_killed(void **state)
{
    (void)state;
    survives(PART_AUDIT);
}

static void test_key_store_killed(void **state)
{
    (void)state;
    survives(PART_KEY_STORE);
}

static void test_resolver_killed(void **state)
{
    (void)state;
    survives(PART_RESOLVER);
}

static void test_bridge_killed(void **state)
{
    (void)state;
    survives(PART_BRIDGE);
}

static void test_gateway_killed(void **state)
{
    (void)state;
    survives(PART_GATEWAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audit_killed),    cmocka_unit_test(test_key_store_killed),
        cmocka_unit_test(test_resolver_killed), cmocka_unit_test(test_bridge_killed),
        cmocka_unit_test(test_gateway_killed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
