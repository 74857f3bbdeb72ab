/* Each service down or hung in turn: a clear refusal within its deadline, nobody let in, and recovery without
 * a restart of the others. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "common/trace.h"
#include "tests/integration/harness.h"

/* A client gives up after this long at the latest, whoever hangs: the gateway's longest deadline and some
 * room for a busy machine. It must not depend on the tests' own deadline. */
enum { CLIENT_GIVES_UP_MS = 30000, KEYS = 60 };

static struct instance *bank;

static int setup(void **state)
{
    (void)state;
    bank = instance_new("ipc");
    instance_set(bank, "gateway", "login_timeout", "10s");
    instance_set(bank, "radius-bridge", "response_timeout", "2s");
    instance_set(bank, "radius-bridge", "dead_time", "1s");
    instance_start(bank);
    part_start(bank, PART_WEB);
    shield_fill(bank, "s", "alice", "alice", KEYS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    return 0;
}

/* While the audit service is away nothing can be read, so the log is compared before and after. */
static size_t accepted_so_far(void)
{
    return audit_count(bank, "login.accepted");
}

static void assert_nobody_gets_in(void)
{
    uint64_t start = clock_now_ms();
    RESULT result = LOGIN(bank, "alice", "s");

    if (result.code == EXIT_OK || strstr(result.out, INTRANET_PAGE) != NULL) {
        bank->failed = true;
        fail_msg("somebody got in: %s", result.err);
    }
    if (result.code != EXIT_TRY_LATER && result.code != EXIT_GATEWAY_UNREACHABLE)
        assert_refused(bank, &result, EXIT_REFUSED);
    assert_true(strlen(result.err) > 0);
    if (clock_now_ms() - start > CLIENT_GIVES_UP_MS) {
        bank->failed = true;
        fail_msg("the client waited %d ms: %s", (int)(clock_now_ms() - start), result.err);
    }
}

/* Recovery is not instant: breakers and dead times run out. It must come by itself, though. */
static void assert_recovers(void)
{
    part_await_health(bank, PART_GATEWAY, true);
    for (int tries = 0;; tries++) {
        RESULT result = LOGIN(bank, "alice", "s");

        if (result.code == EXIT_OK)
            return;
        if (tries == 10)
            assert_logged_in(bank, &result);
    }
}

static void down(enum part part)
{
    size_t before = accepted_so_far();

    part_kill(bank, part);
    assert_nobody_gets_in();
    part_start(bank, part);
    assert_int_equal(accepted_so_far(), before);
    assert_recovers();
}

static void hung(enum part part)
{
    size_t before = accepted_so_far();

    process_signal(&bank->parts[part], SIGSTOP);
    assert_nobody_gets_in();
    process_signal(&bank->parts[part], SIGCONT);
    if (part !=
        PART_AUDIT) /* which may write down later what it read before, though nobody waited for it any more */
        assert_int_equal(accepted_so_far(), before);
    assert_recovers();
}

#define OUTAGE(name, part)                                                                                   \
    static void test_##name##_down(void **state)                                                             \
    {                                                                                                        \
        (void)state;                                                                                         \
        down(part);                                                                                          \
    }                                                                                                        \
    static void test_##name##_hung(void **state)                                                             \
    {                                                                                                        \
        (void)state;                                                                                         \
        hung(part);                                                                                          \
    }

OUTAGE(audit, PART_AUDIT)
OUTAGE(radius, PART_RADIUS)
OUTAGE(bridge, PART_BRIDGE)
OUTAGE(key_store, PART_KEY_STORE)
OUTAGE(resolver, PART_RESOLVER)
OUTAGE(gateway, PART_GATEWAY)

/* The gateway says which part is missing, to operators only. */
static void test_health_names_what_is_missing(void **state)
{
    (void)state;
    part_kill(bank, PART_RESOLVER);
    part_await_health(bank, PART_GATEWAY, false);
    RESULT health = TGCTL(bank, "health");
    assert_int_equal(health.code, 1);
    assert_non_null(strstr(health.out, "resolver"));
    part_start(bank, PART_RESOLVER);
    assert_recovers();
}

/* RLIMIT_FSIZE stands for a full disk: the write that passes it fails. */
static void test_audit_disk_full(void **state)
{
    const struct process_options full = {.file_size_limit = 0};
    struct process_options options = full;
    char *log;

    (void)state;
    size_t before = accepted_so_far();
    part_stop(bank, PART_AUDIT);
    log = file_text(instance_path(bank, "data/audit/audit.log"));
    options.file_size_limit = (long)strlen(log) + 200; /* not even one event */
    free(log);
    part_start_with(bank, PART_AUDIT, &options);
    assert_nobody_gets_in();
    part_stop(bank, PART_AUDIT);
    part_start(bank, PART_AUDIT);
    RESULT verified = TGCTL(bank, "audit", "verify");
    assert_int_equal(verified.code, 0);
    assert_int_equal(accepted_so_far(), before);
    assert_recovers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audit_down),      cmocka_unit_test(test_audit_hung),
        cmocka_unit_test(test_audit_disk_full), cmocka_unit_test(test_radius_down),
        cmocka_unit_test(test_radius_hung),     cmocka_unit_test(test_bridge_down),
        cmocka_unit_test(test_bridge_hung),     cmocka_unit_test(test_key_store_down),
        cmocka_unit_test(test_key_store_hung),  cmocka_unit_test(test_resolver_down),
        cmocka_unit_test(test_resolver_hung),   cmocka_unit_test(test_gateway_down),
        cmocka_unit_test(test_gateway_hung),    cmocka_unit_test(test_health_names_what_is_missing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
