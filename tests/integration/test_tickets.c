/* Tickets that must open nothing: unknown, forged, of another centre, revoked, spent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "common/file.h"
#include "common/shield/shield.h"
#include "common/ticket.h"
#include "tests/integration/harness.h"

static struct instance *bank;

static int setup(void **state)
{
    (void)state;
    bank = instance_new("ipc");
    instance_start(bank);
    part_start(bank, PART_WEB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    return 0;
}

/* A shield that the charger never saw, with one ticket that is `made` here. */
static void forge_shield(const char *name, const struct ticket *ticket, const char *ticket_key_file)
{
    struct secret *ticket_key = NULL;
    struct secret *pin = NULL;
    struct secret *key = secret_random(32);
    struct shield *shield = NULL;
    struct tg_error err;
    uint8_t bytes[TICKET_LEN];
    const struct shield_entry entry = {.ticket = bytes, .key = key};

    assert_int_equal(file_read_secret(ticket_key_file, TICKET_KEY_LEN, &ticket_key, &err), TG_OK);
    assert_int_equal(file_read_line_secret(instance_path(bank, "secrets/alice.pin"), &pin, &err), TG_OK);
    ticket_encode(ticket, ticket_key, bytes);
    assert_int_equal(shield_file_create(instance_path(bank, "shields/%s", name), name, pin, &err), TG_OK);
    assert_int_equal(shield_file_open(instance_path(bank, "shields/%s", name), pin, &shield, &err), TG_OK);
    assert_int_equal(shield_add(shield, &entry, 1, &err), TG_OK);
    shield_close(shield);
    secret_free(key);
    secret_free(pin);
    secret_free(ticket_key);
}

static struct ticket fresh_ticket(const char *centre)
{
    struct ticket ticket = {.expires_s = (uint64_t)time(NULL) + 3600};

    ticket_new_key_id(ticket.key_id);
    memcpy(ticket.centre, centre, TICKET_CENTRE_LEN);
    return ticket;
}

static void copy_shield(const char *from, const char *to)
{
    RESULT copied = RUN(bank, "/bin/cp", "-p", instance_path(bank, "shields/%s", from),
                        instance_path(bank, "shields/%s", to));
    assert_int_equal(copied.code, 0);
}

/* Nobody got in, and the audit log says so. */
static void assert_kept_out(const char *shield)
{
    size_t accepted = audit_count(bank, "login.accepted");
    RESULT result = LOGIN(bank, "alice", shield);

    assert_refused(bank, &result, EXIT_REFUSED);
    assert_int_equal(audit_count(bank, "login.accepted"), accepted);
}

static void test_unknown_ticket(void **state)
{
    struct ticket ticket = fresh_ticket("CENTRE01");

    (void)state;
    forge_shield("unknown", &ticket, instance_path(bank, "secrets/ticket.key"));
    assert_kept_out("unknown");
}

static void test_forged_ticket(void **state)
{
    struct ticket ticket = fresh_ticket("CENTRE01");

    (void)state;
    forge_shield("forged", &ticket, instance_path(bank, "secrets/kek.key")); /* some other key of 32 bytes */
    assert_kept_out("forged");
}

static void test_ticket_of_another_centre(void **state)
{
    struct ticket ticket = fresh_ticket("CENTRE02");

    (void)state;
    forge_shield("elsewhere", &ticket, instance_path(bank, "secrets/ticket.key"));
    assert_kept_out("elsewhere");
}

/* The key id of a shield's first ticket that is ready. */
static void first_key_id(const char *shield, char id[37])
{
    RESULT listed = TGCTL(bank, "--json", "key", "list", "--shield", shield, "--state", "ready");
    json_t *key = json_loads(listed.out, JSON_DISABLE_EOF_CHECK, NULL);

    assert_non_null(key);
    snprintf(id, 37, "%s", json_string_value(json_object_get(key, "key_id")));
    json_decref(key);
}

static void test_revoked_ticket(void **state)
{
    char id[37];

    (void)state;
    shield_fill(bank, "revoked-key", "alice", "alice", 1);
    first_key_id("revoked-key", id);
    RESULT revoked = TGCTL(bank, "key", "revoke", id);
    assert_int_equal(revoked.code, 0);
    assert_kept_out("revoked-key");
}

static void test_revoked_shield(void **state)
{
    (void)state;
    shield_fill(bank, "revoked-shield", "alice", "alice", 1);
    RESULT revoked = TGCTL(bank, "shield", "revoke", "revoked-shield");
    assert_int_equal(revoked.code, 0);
    assert_kept_out("revoked-shield");
}

static void test_spent_ticket(void **state)
{
    (void)state;
    shield_fill(bank, "once", "alice", "alice", 1);
    copy_shield("once", "twice");
    RESULT first = LOGIN(bank, "alice", "once");
    assert_logged_in(bank, &first);
    assert_kept_out("twice");
    RESULT empty = LOGIN(bank, "alice", "once");
    assert_refused(bank, &empty, EXIT_SHIELD_EMPTY);
}

/* A wrong password costs the ticket: the key was out. */
static void test_ticket_of_a_refused_login(void **state)
{
    (void)state;
    shield_fill(bank, "tried", "alice", "alice", 1);
    copy_shield("tried", "retried");
    RESULT first =
        LOGIN(bank, "alice", "tried", "--password-file", secret_line(bank, "wrong.password", "not hers\n"));
    assert_refused(bank, &first, EXIT_REFUSED);
    assert_kept_out("retried");
}

static void start_login(struct process *client, const char *shield)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    size_t count = login_arguments(bank, "alice", shield, argv);
    char target[32];
    const struct process_options options = {.input = instance_path(bank, "request.http")};

    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->web_port);
    argv[count++] = "-W";
    argv[count++] = target;
    run_start(bank, client, &options, argv);
}

static void test_race_for_one_ticket(void **state)
{
    enum { ROUNDS = 5, RUNNERS = 3 };

    (void)state;
    shield_fill(bank, "race-0", "alice", "alice", ROUNDS);
    copy_shield("race-0", "race-1");
    copy_shield("race-0", "race-2");
    for (int round = 0; round < ROUNDS; round++) {
        struct process clients[RUNNERS] = {0};
        int winners = 0;

        for (int i = 0; i < RUNNERS; i++) {
            char name[32];

            snprintf(name, sizeof(name), "race-%d", i);
            start_login(&clients[i], name);
        }
        for (int i = 0; i < RUNNERS; i++) {
            RESULT result = run_end(bank, &clients[i], LOGIN_TIMEOUT_MS);

            winners += result.code == EXIT_OK;
            if (result.code != EXIT_OK)
                assert_refused(bank, &result, EXIT_REFUSED);
        }
        assert_int_equal(winners, 1);
    }
}

/* The charger's user must be who the shield belongs to. */
static void test_filling_another_users_shield(void **state)
{
    (void)state;
    RESULT added = TGCTL(bank, "shield", "add", "hers", "--owner", "alice");
    assert_int_equal(added.code, 0);
    RESULT filled = charge(bank, "hers", "bob", "3");
    assert_true(filled.code != 0);
    RESULT listed = TGCTL(bank, "--json", "key", "list", "--shield", "hers");
    assert_string_equal(listed.out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_ticket),
        cmocka_unit_test(test_forged_ticket),
        cmocka_unit_test(test_ticket_of_another_centre),
        cmocka_unit_test(test_revoked_ticket),
        cmocka_unit_test(test_revoked_shield),
        cmocka_unit_test(test_spent_ticket),
        cmocka_unit_test(test_ticket_of_a_refused_login),
        cmocka_unit_test(test_race_for_one_ticket),
        cmocka_unit_test(test_filling_another_users_shield),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
