/* Each service down or hung in turn: a clear refusal within its deadline, nobody let in, and recovery without
 * a restart of the others. */
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

/* The reason is in the gateway's log; it names the time that the event was given, which is what bounds the
 * user's wait. */
static void assert_reason(const char *reason)
{
    const char *log = instance_path(bank, "log/gateway.log");

    if (reason != NULL && !file_contains(log, reason)) {
        bank->failed = true;
        fail_msg("%s does not say: %s", log, reason);
    }
}

static void down(enum part part, const char *reason)
{
    size_t before = accepted_so_far();

    part_kill(bank, part);
    assert_nobody_gets_in();
    assert_reason(reason);
    part_start(bank, part);
    assert_int_equal(accepted_so_far(), before);
    assert_recovers();
}

static void hung(enum part part, const char *reason)
{
    size_t before = accepted_so_far();

    process_signal(&bank->parts[part], SIGSTOP);
    assert_nobody_gets_in();
    assert_reason(reason);
    process_signal(&bank->parts[part], SIGCONT);
    if (part !=
        PART_AUDIT) /* which may write down later what it read before, though nobody waited for it any more */
        assert_int_equal(accepted_so_far(), before);
    assert_recovers();
}

#define OUTAGE(name, part, reason_down, reason_hung)                                                         \
    static void test_##name##_down(void **state)                                                             \
    {                                                                                                        \
        (void)state;                                                                                         \
        down(part, reason_down);                                                                             \
    }                                                                                                        \
    static void test_##name##_hung(void **state)                                                             \
    {                                                                                                        \
        (void)state;                                                                                         \
        hung(part, reason_hung);                                                                             \
    }

OUTAGE(audit, PART_AUDIT, "the audit service cannot be reached", "within 1500 ms: audit: ")
OUTAGE(radius, PART_RADIUS, NULL, NULL)
OUTAGE(bridge, PART_BRIDGE, NULL, NULL)
OUTAGE(key_store, PART_KEY_STORE, NULL, NULL)
OUTAGE(resolver, PART_RESOLVER, NULL, NULL)
OUTAGE(gateway, PART_GATEWAY, NULL, NULL)

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

/* The length of the file that the log appends to. */
static size_t log_size(void)
{
    glob_t files;
    struct stat info;

    assert_int_equal(glob(instance_path(bank, "data/audit/pending/????????????????????"), 0, NULL, &files),
                     0);
    assert_int_equal(stat(files.gl_pathv[files.gl_pathc - 1], &info), 0);
    globfree(&files);
    return (size_t)info.st_size;
}

static void test_audit_disk_full(void **state)
{
    size_t before = accepted_so_far();

    (void)state;
    process_limit_files(&bank->parts[PART_AUDIT], log_size() + 100); /* not even one event */
    assert_nobody_gets_in();
    assert_reason("within 1500 ms: audit: no room for the audit log");
    assert_nobody_gets_in();
    RESULT verified = TGCTL(bank, "audit", "verify");
    assert_int_equal(verified.code, 0);
    assert_int_equal(accepted_so_far(), before);
    process_limit_files(&bank->parts[PART_AUDIT], 0);
    assert_recovers(); /* without a restart of anything */
    RESULT again = TGCTL(bank, "audit", "verify");
    assert_int_equal(again.code, 0);
}

/* Whatever a failed test left behind is no reason for the next one to fail. */
static int all_up(void **state)
{
    (void)state;
    for (enum part part = PART_RADIUS; part <= PART_WEB; part++) {
        if (bank->parts[part].pid == 0)
            part_start(bank, part);
        else
            process_signal(&bank->parts[part], SIGCONT);
    }
    process_limit_files(&bank->parts[PART_AUDIT], 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_audit_down, all_up),
        cmocka_unit_test_setup(test_audit_hung, all_up),
        cmocka_unit_test_setup(test_audit_disk_full, all_up),
        cmocka_unit_test_setup(test_radius_down, all_up),
        cmocka_unit_test_setup(test_radius_hung, all_up),
        cmocka_unit_test_setup(test_bridge_down, all_up),
        cmocka_unit_test_setup(test_bridge_hung, all_up),
        cmocka_unit_test_setup(test_key_store_down, all_up),
        cmocka_unit_test_setup(test_key_store_hung, all_up),
        cmocka_unit_test_setup(test_resolver_down, all_up),
        cmocka_unit_test_setup(test_resolver_hung, all_up),
        cmocka_unit_test_setup(test_gateway_down, all_up),
        cmocka_unit_test_setup(test_gateway_hung, all_up),
        cmocka_unit_test_setup(test_health_names_what_is_missing, all_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
