/* The whole login, steps 1 to 14: client, gateway, key centre, RADIUS, intranet. */
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "common/file.h"
#include "common/trace.h"
#include "tests/integration/harness.h"

static struct instance *bank;

static int setup(void **state)
{
    (void)state;
    bank = instance_new("tls");
    instance_append(bank, "freeradius/users",
                    "carol Cleartext-Password := \"first\", Tmp-String-0 := \"second\"\n"
                    "\tFilter-Id = \"core-ops\"\n\n"
                    "dave Cleartext-Password := \"astray\"\n"
                    "\tFilter-Id = \"no-such-policy\"\n");
    instance_start(bank);
    part_start(bank, PART_WEB);
    shield_fill(bank, "s-alice", "alice", "alice", 40);
    shield_fill(bank, "s-anyone", NULL, "bob", 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    return 0;
}

static void test_wrong_password(void **state)
{
    (void)state;
    RESULT result =
        LOGIN(bank, "alice", "s-alice", "--password-file", secret_line(bank, "wrong.password", "not hers\n"));
    assert_refused(bank, &result, EXIT_REFUSED);
}

static void test_unknown_user(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "bob", "s-anyone", "--user", "mallory");
    assert_refused(bank, &result, EXIT_REFUSED);
}

/* What a stranger is told does not depend on what was wrong. */
static void test_refusals_look_alike(void **state)
{
    (void)state;
    RESULT password =
        LOGIN(bank, "bob", "s-anyone", "--password-file", secret_line(bank, "wrong.password", "not his\n"));
    RESULT user = LOGIN(bank, "bob", "s-anyone", "--user", "mallory");
    RESULT owner = LOGIN(bank, "bob", "s-alice", "--pin-file", instance_path(bank, "secrets/alice.pin"));
    char *texts[] = {password.err, user.err, owner.err};

    for (size_t i = 0; i < 3; i++) { /* all but the trace id, which differs */
        char *trace = strstr(texts[i], "race");

        if (trace != NULL)
            *trace = '\0';
    }
    assert_string_equal(password.err, user.err);
    assert_string_equal(password.err, owner.err);
}

static void test_wrong_pin(void **state)
{
    (void)state;
    size_t before = audit_count(bank, "key.spent");
    RESULT result = LOGIN(bank, "alice", "s-alice", "--pin-file", secret_line(bank, "wrong.pin", "000000\n"));
    assert_refused(bank, &result, EXIT_WRONG_PIN);
    assert_int_equal(audit_count(bank, "key.spent"), before);
}

static void test_shield_of_another_user(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "bob", "s-alice", "--pin-file", instance_path(bank, "secrets/alice.pin"));
    assert_refused(bank, &result, EXIT_REFUSED);
}

static void test_unknown_policy(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "bob", "s-anyone", "--user", "dave", "--password-file",
                          secret_line(bank, "dave.password", "astray\n"));
    assert_refused(bank, &result, EXIT_REFUSED);
}

static void test_gateway_with_another_certificate(void **state)
{
    (void)state;
    size_t before = audit_count(bank, "key.spent");
    RESULT result = LOGIN(bank, "alice", "s-alice", "--ca", instance_path(bank, "pki/server-ca.crt"));
    assert_refused(bank, &result, EXIT_CERTIFICATE);
    assert_int_equal(audit_count(bank, "key.spent"), before);
}

static void test_plain_login_is_refused(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "alice", "s-alice", "--plain-login");
    assert_true(result.code != EXIT_OK);
    assert_null(strstr(result.out, INTRANET_PAGE));
}

static void test_plain_login_where_policy_allows_it(void **state)
{
    (void)state;
    part_stop(bank, PART_GATEWAY);
    instance_set(bank, "gateway", "login_must_be_sealed", "false");
    part_start(bank, PART_GATEWAY);
    RESULT plain = LOGIN(bank, "alice", "s-alice", "--plain-login");
    RESULT sealed = LOGIN(bank, "alice", "s-alice");
    part_stop(bank, PART_GATEWAY);
    instance_set(bank, "gateway", "login_must_be_sealed", "true");
    part_start(bank, PART_GATEWAY);
    assert_logged_in(bank, &plain);
    assert_logged_in(bank, &sealed);
}

static void test_aes_suite(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "alice", "s-alice", "--suite", "AES256-GCM-SHA256");
    assert_logged_in(bank, &result);
}

static void test_sm4_suite(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "alice", "s-alice", "--suite", "SM4-CTR-HMAC-SM3");
    assert_logged_in(bank, &result);
}

static void test_unbound_shield(void **state)
{
    (void)state;
    RESULT result = LOGIN(bank, "bob", "s-anyone");
    assert_logged_in(bank, &result);
}

/* Reads what is shown on a terminal until that holds `text`. */
static void await_prompt(int terminal, const char *text)
{
    struct pollfd shown = {.fd = terminal, .events = POLLIN};
    char screen[1024] = "";
    size_t used = 0;

    while (strstr(screen, text) == NULL) {
        if (used == sizeof(screen) - 1 || poll(&shown, 1, LOGIN_TIMEOUT_MS) != 1)
            fail_msg("no prompt, but: %s", screen);
        ssize_t got = read(terminal, screen + used, sizeof(screen) - 1 - used);
        used += got > 0 ? (size_t)got : 0;
        screen[used] = '\0';
    }
}

static void test_challenge(void **state)
{
    (void)state;
    RESULT wrong = LOGIN(bank, "bob", "s-anyone", "--user", "carol", "--password-file",
                         secret_line(bank, "carol.wrong", "second\n"));
    assert_refused(bank, &wrong, EXIT_REFUSED);
    /* The code is asked for at the terminal, while stdin is the stream. */
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    struct process client = {0};
    struct process_options options = {.input = instance_path(bank, "request.http")};
    int terminal = -1;
    size_t count = login_arguments(bank, "bob", "s-anyone", argv);
    char target[32];

    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->web_port);
    const char *const more[] = {
        "--user", "carol", "--password-file", secret_line(bank, "carol.password", "first\n"), "-W", target};
    memcpy(argv + count, more, sizeof(more));
    assert_int_equal(openpty(&terminal, &options.terminal, NULL, NULL, NULL), 0);
    run_start(bank, &client, &options, argv);
    await_prompt(terminal, "One-time code");
    assert_int_equal(write(terminal, "second\n", 7), 7);
    RESULT right = run_end(bank, &client, LOGIN_TIMEOUT_MS);
    close(terminal);
    close(options.terminal);
    assert_logged_in(bank, &right);
}

/* The events of one login, in order, all with its trace id (docs/audit.md). */
static void test_audit_trail_of_a_login(void **state)
{
    static const char *const steps[] = {"key.spent",     "handshake.authenticated", "login.accepted",
                                        "stream.opened", "stream.closed",           "session.ended"};
    (void)state;
    RESULT result = LOGIN(bank, "alice", "s-alice");
    assert_logged_in(bank, &result);
    json_t *sessions = AUDIT(bank, "--event", "login.accepted", "--user", "alice");
    json_t *last = json_array_get(sessions, json_array_size(sessions) - 1);
    const char *trace = audit_text(last, "metadata.correlation_uid");
    assert_non_null(trace);
    assert_int_equal(strlen(trace), 32);
    json_t *lines = AUDIT(bank, "--trace", trace);
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *event = audit_text(json_array_get(lines, i), "metadata.event_code");

        if (found < sizeof(steps) / sizeof(steps[0]) && strcmp(event, steps[found]) == 0)
            found++;
    }
    if (found != sizeof(steps) / sizeof(steps[0]))
        fail_msg("%s is missing, or not in its place, in: %s", steps[found],
                 json_dumps(lines, JSON_INDENT(1)));
    json_decref(lines);
    json_decref(sessions);
    RESULT verified = TGCTL(bank, "audit", "verify");
    assert_int_equal(verified.code, 0);
}

/* What is in the file is what the log says of logins, byte by byte. */
static void assert_exported(const char *file)
{
    struct tg_error err;
    char *text = NULL;
    size_t len = 0;

    RESULT listed = TGCTL(bank, "audit", "list", "--json", "--event", "login.accepted");
    assert_int_equal(listed.code, 0);
    assert_int_equal(file_read(file, 1 << 24, &text, &len, &err), TG_OK);
    assert_string_equal(text, listed.out);
    free(text);
}

static void export_logins(const char *file, const char *position)
{
    RESULT result = TGCTL(bank, "audit", "export", file, "--position", position, "--event", "login.accepted");
    if (result.code != 0)
        fail_msg("tgctl audit export: %d: %s", result.code, result.err);
    assert_exported(file);
}

static json_int_t sequence_of(const json_t *line)
{
    return json_integer_value(json_object_get(json_object_get(line, "metadata"), "sequence"));
}

/* Of the newest login. */
static json_t *last_login(size_t *count)
{
    json_t *lines = AUDIT(bank, "--event", "login.accepted");
    *count = json_array_size(lines);
    json_t *last = json_incref(json_array_get(lines, *count - 1));

    json_decref(lines);
    return last;
}

/* Each event once: from an empty file, again, after an export that was torn, and after another login. */
static void test_audit_export(void **state)
{
    char file[128], position[128], sequence[32];
    size_t count;

    (void)state;
    snprintf(file, sizeof(file), "%s", instance_path(bank, "run/events"));
    snprintf(position, sizeof(position), "%s", instance_path(bank, "run/position"));
    RESULT first = LOGIN(bank, "alice", "s-alice");
    assert_logged_in(bank, &first);
    export_logins(file, position);
    export_logins(file, position);
    instance_append(bank, "run/events", "{\"metadata\":{\"sequ");
    RESULT second = LOGIN(bank, "alice", "s-alice");
    assert_logged_in(bank, &second);
    export_logins(file, position);
    assert_int_equal(file_replace(position, "99999999 0\n", 11, NULL), TG_OK); /* another log's */
    RESULT lost = TGCTL(bank, "audit", "export", file, "--position", position);
    assert_int_equal(lost.code, 1);
    assert_non_null(strstr(lost.err, "another audit service"));

    json_t *last = last_login(&count);
    snprintf(sequence, sizeof(sequence), "%" JSON_INTEGER_FORMAT, sequence_of(last));
    RESULT shown = TGCTL(bank, "audit", "show", "--json", sequence);
    assert_int_equal(shown.code, 0);
    json_t *whole = json_loads(shown.out, 0, NULL);
    assert_true(json_equal(whole, last));
    json_decref(whole);
    json_decref(last);
}

/* Whoever follows sees what happens from then on, and what an export waits for. */
static void test_audit_follow(void **state)
{
    struct process follower = {0}, exporter = {0};
    uint64_t until_ms = clock_now_ms() + LOGIN_TIMEOUT_MS;
    char limit[32];

    (void)state;
    size_t before;
    json_t *last = last_login(&before);
    snprintf(limit, sizeof(limit), "%zu", before + 1);
    run_start(bank, &exporter, NULL,
              (const char *const[]){program("tgctl"), "--config", instance_path(bank, "config/tgctl.yaml"),
                                    "audit", "export", instance_path(bank, "run/followed"), "--follow",
                                    "--event", "login.accepted", "--limit", limit, NULL});
    run_start(bank, &follower, NULL,
              (const char *const[]){program("tgctl"), "--config", instance_path(bank, "config/tgctl.yaml"),
                                    "audit", "follow", "--json", "--event", "login.accepted", "--limit", "1",
                                    NULL});
    do { /* it sees those from its start on, which is not the start of its process */
        RESULT result = LOGIN(bank, "alice", "s-alice");
        assert_logged_in(bank, &result);
        assert_true(clock_now_ms() < until_ms);
    } while (!process_await(&follower, "login.accepted", 1000));
    RESULT followed = run_end(bank, &follower, LOGIN_TIMEOUT_MS);
    assert_int_equal(followed.code, 0);
    json_t *line = json_loads(followed.out, 0, NULL);
    assert_true(sequence_of(line) > sequence_of(last));
    json_decref(last);
    json_decref(line);
    RESULT exported = run_end(bank, &exporter, LOGIN_TIMEOUT_MS);
    assert_int_equal(exported.code, 0);
}

static void test_session_killed_by_operator(void **state)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    struct process client = {0};
    char forward[64];

    (void)state;
    size_t count = login_arguments(bank, "alice", "s-alice", argv);
    snprintf(forward, sizeof(forward), "%d:127.0.0.1:%d", bank->local_ports[0], bank->web_port);
    argv[count++] = "-L";
    argv[count++] = forward;
    run_start(bank, &client, NULL, argv);
    process_await_port(&client, bank->local_ports[0], LOGIN_TIMEOUT_MS);
    RESULT listed = TGCTL(bank, "--json", "session", "list");
    json_t *session = json_loads(listed.out, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(session);
    const char *id = json_string_value(json_object_get(session, "session_id"));
    assert_non_null(id);
    RESULT killed = TGCTL(bank, "session", "kill", id, "--reason", "end of shift");
    assert_int_equal(killed.code, 0);
    RESULT ended = run_end(bank, &client, LOGIN_TIMEOUT_MS);
    assert_int_equal(ended.code, EXIT_ENDED_BY_OPERATOR);
    assert_non_null(strstr(ended.err, "end of shift"));
    json_decref(session);
    RESULT none = TGCTL(bank, "--json", "session", "list");
    assert_string_equal(none.out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_unknown_user),
        cmocka_unit_test(test_refusals_look_alike),
        cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_shield_of_another_user),
        cmocka_unit_test(test_unknown_policy),
        cmocka_unit_test(test_gateway_with_another_certificate),
        cmocka_unit_test(test_plain_login_is_refused),
        cmocka_unit_test(test_plain_login_where_policy_allows_it),
        cmocka_unit_test(test_aes_suite),
        cmocka_unit_test(test_sm4_suite),
        cmocka_unit_test(test_unbound_shield),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_audit_trail_of_a_login),
        cmocka_unit_test(test_audit_export),
        cmocka_unit_test(test_audit_follow),
        cmocka_unit_test(test_session_killed_by_operator),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
