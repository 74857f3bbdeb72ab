/* Rotation of key-encryption keys as an operator does it: tgctl, SIGHUP, and logins all the while. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/trace.h"
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

static void make_kek(const char *name)
{
    uint8_t kek[32];
    struct tg_error err;

    random_bytes(kek, sizeof(kek));
    assert_int_equal(file_write_new(instance_path(bank, "secrets/%s", name), kek, sizeof(kek), &err), TG_OK);
}

static void set_keks(const char *keks)
{
    instance_set(bank, "key-store", "keks", keks);
}

static void reload(void)
{
    process_signal(&bank->parts[PART_KEY_STORE], SIGHUP);
    assert_true(process_await(&bank->parts[PART_KEY_STORE], "config.reloaded", READY_TIMEOUT_MS));
}

/* `tgctl kek list --json`: the line of that KEK, or NULL. */
static json_t *listed(int id)
{
    RESULT list = TGCTL(bank, "kek", "list", "--json");
    json_t *found = NULL;

    assert_int_equal(list.code, 0);
    for (char *line = strtok(list.out, "\n"); line != NULL && found == NULL; line = strtok(NULL, "\n")) {
        json_t *kek = json_loads(line, 0, NULL);

        assert_non_null(kek);
        if (json_integer_value(json_object_get(kek, "kek_id")) == id)
            found = json_incref(kek);
        json_decref(kek);
    }
    return found;
}

static void assert_kek(int id, int keys, bool newest, bool removable)
{
    json_t *kek = listed(id);

    assert_non_null(kek);
    assert_int_equal(json_integer_value(json_object_get(kek, "keys")), keys);
    assert_int_equal(json_is_true(json_object_get(kek, "newest")), newest);
    assert_int_equal(json_is_true(json_object_get(kek, "removable")), removable);
    json_decref(kek);
}

static void test_rotation_by_the_book(void **state)
{
    (void)state;
    shield_fill(bank, "alices", "alice", "alice", 4); /* and the gateway's own key */
    RESULT alone = TGCTL(bank, "kek", "rotate");
    assert_int_equal(alone.code, 1);
    assert_non_null(strstr(alone.err, "there is only KEK 1"));

    make_kek("kek-2.key");
    set_keks("[{id: 1, file: ../secrets/kek.key}, {id: 2, file: ../secrets/kek-2.key}]");
    reload();
    assert_kek(1, 5, false, false);
    assert_kek(2, 0, true, false);
    shield_fill(bank, "alices-2", "alice", "alice", 2);
    assert_kek(2, 2, true, false);
    RESULT first = LOGIN(bank, "alice", "alices");
    assert_logged_in(bank, &first);

    RESULT rotated = TGCTL(bank, "kek", "rotate", "--wait", "--json");
    assert_int_equal(rotated.code, 0);
    assert_non_null(strstr(rotated.out, "\"kek_id\":2"));
    assert_non_null(strstr(rotated.out, "\"keys\":4"));
    assert_kek(1, 0, false, true);
    assert_kek(2, 6, true, false);
    assert_int_equal(audit_count(bank, "kek.rotation_started"), 1);
    assert_int_equal(audit_count(bank, "kek.rotated"), 1);

    set_keks("[{id: 2, file: ../secrets/kek-2.key}]");
    part_stop(bank, PART_KEY_STORE);
    assert_int_equal(unlink(instance_path(bank, "secrets/kek.key")), 0);
    part_start(bank, PART_KEY_STORE);
    assert_null(listed(1));
    RESULT second = LOGIN(bank, "alice", "alices");
    assert_logged_in(bank, &second);
    RESULT third = LOGIN(bank, "alice", "alices-2");
    assert_logged_in(bank, &third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rotation_by_the_book)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
