/* Two sites as operators run them: the key centre of site A serves as KME to both; the charger draws keys
 * from it and the key store of site B adopts them. Then B's key store draws for itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/exit_code.h"
#include "tests/integration/harness.h"

static struct instance *kme, *bank;

static void kme_start(void)
{
    part_start(kme, PART_AUDIT);
    part_start(kme, PART_KEY_STORE);
    part_await_health(kme, PART_KEY_STORE, true);
}

static void set_etsi014(void)
{
    char value[512];
    snprintf(value, sizeof(value),
             "{listen: \"127.0.0.1:%d\", certificate: ../pki/kme.crt, key: ../pki/kme.key, ca: "
             "../pki/sae-ca.crt, kme_id: kme-1, saes: [charger-as-sae, key-store-as-sae]}",
             kme->local_ports[0]);
    instance_set(kme, "key-store", "etsi014", value);
}

/* Who draws from the KME, in the bank's configuration `name`. */
static void set_kme(const char *name, const char *sae, const char *more)
{
    char value[512];
    snprintf(value, sizeof(value),
             "{url: \"https://localhost:%d\", certificate: %s/pki/%s.crt, key: %s/pki/%s.key, ca: "
             "%s/pki/server-ca.crt, %s}",
             kme->local_ports[0], kme->dir, sae, kme->dir, sae, kme->dir, more);
    instance_set(bank, name, "kme", value);
}

static int setup(void **state)
{
    (void)state;
    kme = instance_new("ipc");
    bank = instance_new("ipc");
    set_etsi014();
    set_kme("key-store", "key-store-as-sae", "master_sae: charger-as-sae, slave_sae: charger-as-sae");
    set_kme("tg-charger", "charger-as-sae", "slave_sae: key-store-as-sae");
    kme_start();
    instance_start(bank);
    part_start(bank, PART_WEB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    instance_end(kme);
    return 0;
}

/* How many successes and failures of an event name this detail. */
static size_t audited_as(struct instance *instance, const char *event, const char *detail)
{
    json_t *lines = AUDIT(instance, "--event", event);
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        char *line = json_dumps(json_array_get(lines, i), 0);
        count += strstr(line, detail) != NULL;
        free(line);
    }
    json_decref(lines);
    return count;
}

static void keys_drawn_at_a_log_in_at_b(void **state)
{
    (void)state;
    shield_fill(bank, "alices", "alice", "alice", 3);
    RESULT login = LOGIN(bank, "alice", "alices");
    assert_logged_in(bank, &login);
    assert_int_equal(audit_count(kme, "sae.keys_made"), 1);
    assert_int_equal(audited_as(kme, "sae.keys_taken", "3 keys of 256 bits"), 1);
    assert_int_equal(audited_as(bank, "keys.made", "3 keys from master SAE charger-as-sae by etsi014"), 1);
}

static void without_the_kme_nothing_is_filled_and_it_comes_back(void **state)
{
    (void)state;
    part_kill(kme, PART_KEY_STORE);
    RESULT dead = charge(bank, "alices", "alice", "2");
    assert_int_equal(dead.code, EXIT_TRY_LATER);
    assert_non_null(strstr(dead.err, "KME https://localhost:"));
    assert_int_equal(audit_count(bank, "keys.made"), 1);
    part_start(kme, PART_KEY_STORE);
    part_await_health(kme, PART_KEY_STORE, true);
    RESULT alive = charge(bank, "alices", "alice", "2");
    assert_int_equal(alive.code, EXIT_OK);
    RESULT login = LOGIN(bank, "alice", "alices");
    assert_logged_in(bank, &login);
}

static void a_store_draws_for_itself(void **state)
{
    (void)state;
    part_stop(bank, PART_KEY_STORE);
    instance_set(bank, "key-store", "source", "etsi014");
    instance_set(bank, "tg-charger", "timeout", "30s"); /* and no KME of its own: */
    instance_set(bank, "tg-charger", "kme", "{method: get}");
    part_start(bank, PART_KEY_STORE);
    part_await_health(bank, PART_KEY_STORE, true);
    RESULT added = TGCTL(bank, "shield", "add", "bobs", "--owner", "bob");
    assert_int_equal(added.code, 0);
    RESULT filled = {.code = EXIT_TRY_LATER};
    for (int tries = 0; tries < 100 && filled.code == EXIT_TRY_LATER;
         tries++) { /* until the stock has some */
        result_free(&filled);
        filled = charge(bank, "bobs", "bob", "4");
    }
    assert_int_equal(filled.code, EXIT_OK);
    assert_int_equal(audited_as(bank, "keys.made", "4 keys from etsi014"), 1);
    RESULT login = LOGIN(bank, "bob", "bobs");
    assert_logged_in(bank, &login);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_drawn_at_a_log_in_at_b),
        cmocka_unit_test(without_the_kme_nothing_is_filled_and_it_comes_back),
        cmocka_unit_test(a_store_draws_for_itself),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
