/* Step 14: working in the intranet with programs that know nothing of TicketGate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "common/trace.h"
#include "tests/integration/harness.h"

enum { BIG = 64 * 1024 * 1024 };

static struct instance *bank;
static struct process client; /* a session with two forwards: the web server, and sshd */
static char page_url[64];

static void write_big_file(const char *path)
{
    static uint8_t block[1024 * 1024];
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    for (size_t written = 0; written < BIG; written += sizeof(block)) {
        random_bytes(block, sizeof(block));
        assert_int_equal(fwrite(block, 1, sizeof(block), out), sizeof(block));
    }
    assert_int_equal(fclose(out), 0);
}

/* ssh's configuration: "direct" goes through -L, "intranet" through -W as its ProxyCommand. */
static void write_ssh_config(void)
{
    FILE *out = fopen(instance_path(bank, "run/ssh_config"), "we");
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};

    assert_non_null(out);
    fprintf(out, "Host direct\n  HostName 127.0.0.1\n  Port %d\n", bank->local_ports[1]);
    fprintf(out, "Host intranet\n  HostName 127.0.0.1\n  Port %d\n  ProxyCommand", bank->ssh_port);
    login_arguments(bank, "alice", "s-proxy", argv);
    for (size_t i = 0; argv[i] != NULL; i++)
        fprintf(out, " %s", argv[i]);
    fprintf(out, " -W %%h:%%p\nHost *\n  HostKeyAlias intranet\n  IdentityFile %s\n  IdentitiesOnly yes\n",
            instance_path(bank, "intranet/id_ed25519"));
    fprintf(out, "  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            instance_path(bank, "intranet/known_hosts"));
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
    static char forwards[2][64];
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    size_t count;

    (void)state;
    bank = instance_new("ipc");
    instance_start(bank);
    if (geteuid() == 0)
        (void)mkdir("/run/sshd", 0755);
    part_start(bank, PART_WEB);
    part_start(bank, PART_SSHD);
    shield_fill(bank, "s", "alice", "alice", 20);
    shield_fill(bank, "s-proxy", "alice", "alice", 20);
    write_big_file(instance_path(bank, "intranet/www/big"));
    write_ssh_config();
    snprintf(forwards[0], sizeof(forwards[0]), "%d:127.0.0.1:%d", bank->local_ports[0], bank->web_port);
    snprintf(forwards[1], sizeof(forwards[1]), "%d:127.0.0.1:%d", bank->local_ports[1], bank->ssh_port);
    count = login_arguments(bank, "alice", "s", argv);
    argv[count++] = "-L";
    argv[count++] = forwards[0];
    argv[count++] = "-L";
    argv[count++] = forwards[1];
    run_start(bank, &client, NULL, argv);
    process_await_port(&client, bank->local_ports[1], LOGIN_TIMEOUT_MS);
    snprintf(page_url, sizeof(page_url), "http://127.0.0.1:%d/", bank->local_ports[0]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (client.pid != 0)
        assert_int_equal(process_stop(&client, LOGIN_TIMEOUT_MS), EXIT_OK);
    instance_end(bank);
    return 0;
}

static void test_curl_through_a_forward(void **state)
{
    (void)state;
    RESULT result = RUN(bank, "/usr/bin/curl", "-sS", "--fail", page_url);
    assert_int_equal(result.code, 0);
    assert_non_null(strstr(result.out, INTRANET_PAGE));
}

static void test_curl_moves_a_big_file_unharmed(void **state)
{
    char url[96];

    (void)state;
    snprintf(url, sizeof(url), "%sbig", page_url);
    RESULT got = RUN(bank, "/usr/bin/curl", "-sS", "--fail", "-o", instance_path(bank, "run/big"), url);
    assert_int_equal(got.code, 0);
    RESULT same =
        RUN(bank, "/usr/bin/cmp", instance_path(bank, "intranet/www/big"), instance_path(bank, "run/big"));
    assert_int_equal(same.code, 0);
}

static void test_many_curls_at_once(void **state)
{
    enum { MANY = 20 };
    struct process curls[MANY] = {0};

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        const char *const argv[] = {"/usr/bin/curl", "-sS", "--fail", page_url, NULL};
        run_start(bank, &curls[i], NULL, argv);
    }
    for (size_t i = 0; i < MANY; i++) {
        RESULT result = run_end(bank, &curls[i], LOGIN_TIMEOUT_MS);
        assert_int_equal(result.code, 0);
        assert_non_null(strstr(result.out, INTRANET_PAGE));
    }
}

static void test_ssh_through_a_forward(void **state)
{
    (void)state;
    RESULT result =
        RUN(bank, "/usr/bin/ssh", "-F", instance_path(bank, "run/ssh_config"), "direct", "echo", "in");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.out, "in\n");
}

static void test_ssh_with_a_proxy_command(void **state)
{
    (void)state;
    RESULT result =
        RUN(bank, "/usr/bin/ssh", "-F", instance_path(bank, "run/ssh_config"), "intranet", "echo in; exit 3");
    assert_int_equal(result.code, 3);
    assert_string_equal(result.out, "in\n");
}

/* Both ways at once, up and down, in one stream. */
static void test_ssh_echoes_a_big_file(void **state)
{
    const struct process_options big = {.input = instance_path(bank, "intranet/www/big")};
    const char *const argv[] = {"/usr/bin/ssh", "-F",          instance_path(bank, "run/ssh_config"),
                                "intranet",     "cat | cksum", NULL};
    const char *const local[] = {"/usr/bin/cksum", NULL};

    (void)state;
    RESULT there = run_with(bank, LOGIN_TIMEOUT_MS, &big, argv);
    RESULT here = run_with(bank, LOGIN_TIMEOUT_MS, &big, local);
    assert_int_equal(there.code, 0);
    assert_string_equal(there.out, here.out);
}

static void test_target_that_no_policy_names(void **state)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    size_t count = login_arguments(bank, "alice", "s-proxy", argv);
    char target[32];

    (void)state;
    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->radius_port);
    argv[count++] = "-W";
    argv[count++] = target;
    RESULT result = run(bank, LOGIN_TIMEOUT_MS, argv);
    assert_refused(bank, &result, EXIT_TARGET);
    json_t *lines = AUDIT(bank, "--event", "stream.refused");
    const json_t *last = json_array_get(lines, json_array_size(lines) - 1);
    assert_string_equal(audit_text(last, "dst_endpoint.ip"), "127.0.0.1");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(last, "dst_endpoint"), "port")),
                     bank->radius_port);
    json_decref(lines);
}

static void test_target_that_is_not_there(void **state)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    size_t count = login_arguments(bank, "alice", "s-proxy", argv);
    char target[32];

    (void)state;
    part_kill(bank, PART_WEB);
    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->web_port);
    argv[count++] = "-W";
    argv[count++] = target;
    RESULT result = run(bank, LOGIN_TIMEOUT_MS, argv);
    part_start(bank, PART_WEB);
    assert_refused(bank, &result, EXIT_TARGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curl_through_a_forward),
        cmocka_unit_test(test_curl_moves_a_big_file_unharmed),
        cmocka_unit_test(test_many_curls_at_once),
        cmocka_unit_test(test_ssh_through_a_forward),
        cmocka_unit_test(test_ssh_with_a_proxy_command),
        cmocka_unit_test(test_ssh_echoes_a_big_file),
        cmocka_unit_test(test_target_that_no_policy_names),
        cmocka_unit_test(test_target_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
