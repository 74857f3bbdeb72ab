/* What every shield must do, on the one in memory. */
#include "common/shield/keychain.h"
#include "common/trace.h"
#include "tests/unit/common/shield_fixture.h"

struct fixture {
    struct shield *shield;
    struct entries e;
};

static int setup(void **state)
{
    static const uint64_t expires[] = {3000, NOW, 2000, 4000};
    struct fixture *f = calloc(1, sizeof *f);
    entries_init(&f->e, expires, 4);
    assert_int_equal(shield_memory_open("shield-1", &f->shield, NULL), TG_OK);
    assert_int_equal(shield_add(f->shield, f->e.list, 4, NULL), TG_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    shield_close(f->shield);
    entries_fini(&f->e);
    free(f);
    return 0;
}

static void an_empty_shield_says_so(void **state)
{
    (void)state;
    struct shield *shield = NULL;
    struct shield_key *key = NULL;
    struct tg_error err;
    assert_int_equal(shield_memory_open("empty", &shield, NULL), TG_OK);
    assert_int_equal(shield_take(shield, NOW, &key, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "empty"));
    assert_non_null(strstr(err.text, "fill it"));
    shield_close(shield);
    shield_close(NULL);
    shield_key_free(NULL);
}

static void bad_ids_are_refused(void **state)
{
    (void)state;
    struct shield *shield = NULL;
    assert_int_equal(shield_memory_open("", &shield, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(shield_memory_open("a b", &shield, NULL), TG_INVALID_ARGUMENT);
    assert_null(shield);
}

static void a_key_derives_once(void **state)
{
    struct fixture *f = *state;
    struct shield_key *key = NULL;
    struct secret *root = NULL;
    struct secret *again = NULL;
    assert_int_equal(shield_take(f->shield, NOW, &key, NULL), TG_OK);
    assert_int_equal(shield_derive(key, suite_find(2), "input", 5, &root, NULL), TG_OK);
    assert_int_equal(shield_derive(key, suite_find(2), "input", 5, &again, NULL), TG_FAILED_PRECONDITION);
    assert_null(again);
    secret_free(root);
    shield_key_free(key);
}

static void expired_keys_are_skipped_and_the_soonest_comes_first(void **state)
{
    struct fixture *f = *state;
    struct shield_status status;
    assert_int_equal(shield_get_status(f->shield, NOW, &status, NULL), TG_OK);
    assert_int_equal(status.ready, 3);
    assert_int_equal(status.expired, 1);
    assert_int_equal(status.next_expiry_s, 2000);
    assert_string_equal(status.shield_id, "shield-1");
    assert_next_is(f->shield, &f->e, 2);
    assert_next_is(f->shield, &f->e, 0);
    assert_next_is(f->shield, &f->e, 3);
    struct shield_key *key = NULL;
    assert_int_equal(shield_take(f->shield, NOW, &key, NULL), TG_FAILED_PRECONDITION);
    assert_int_equal(shield_get_status(f->shield, NOW, &status, NULL), TG_OK);
    assert_int_equal(status.expired, 1);
    assert_int_equal(status.next_expiry_s, 0);
}

static void adding_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    static const uint64_t expires[] = {5000, 6000};
    struct entries more;
    entries_init(&more, expires, 2);
    const struct shield_entry with_old[] = {more.list[0], f->e.list[2]};
    const struct shield_entry twice[] = {more.list[0], more.list[0]};
    struct secret *short_key = secret_random(16);
    uint8_t bad_ticket[TICKET_LEN] = {9};
    const struct shield_entry with_short[] = {more.list[0], {.ticket = more.tickets[1], .key = short_key}};
    const struct shield_entry with_bad[] = {more.list[0], {.ticket = bad_ticket, .key = more.keys[1]}};
    assert_int_equal(shield_add(f->shield, with_old, 2, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(shield_add(f->shield, twice, 2, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(shield_add(f->shield, with_short, 2, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(shield_add(f->shield, with_bad, 2, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(ready(f->shield), 3);
    assert_int_equal(shield_add(f->shield, more.list, 2, NULL), TG_OK);
    assert_int_equal(ready(f->shield), 5);
    secret_free(short_key);
    entries_fini(&more);
}

static void fill_up(struct shield *shield, uint64_t expires_s)
{
    struct secret *key = secret_random(32);
    struct secret *ticket_key = secret_random(32);
    for (int i = 0; i < KEYCHAIN_MAX; i++) {
        struct ticket t = {.expires_s = expires_s};
        uint8_t bytes[TICKET_LEN];
        ticket_new_key_id(t.key_id);
        ticket_encode(&t, ticket_key, bytes);
        enum tg_code code = shield_add(shield, &(struct shield_entry){.ticket = bytes, .key = key}, 1, NULL);
        if (code == TG_RESOURCE_EXHAUSTED)
            break;
        assert_int_equal(code, TG_OK);
    }
    secret_free(key);
    secret_free(ticket_key);
}

/* The fixture's entries are long expired by the clock: they give way one by one, and only when the shield is
 * full. */
static void a_full_shield_drops_only_what_has_expired(void **state)
{
    struct fixture *f = *state;
    struct keychain *chain = (struct keychain *)f->shield;
    uint64_t far = clock_unix_us() / 1000000 + 86400;
    static const uint64_t expires[] = {UINT64_MAX, UINT64_MAX};
    struct entries more;
    entries_init(&more, expires, 2);
    chain->slots.count = 0;
    fill_up(f->shield, far);
    assert_int_equal(chain->slots.count, KEYCHAIN_MAX);
    assert_int_equal(shield_add(f->shield, more.list, 1, NULL), TG_RESOURCE_EXHAUSTED);
    chain->slots.count -= 4;
    assert_int_equal(shield_add(f->shield, f->e.list, 4, NULL), TG_OK);
    assert_int_equal(chain->slots.count, KEYCHAIN_MAX);
    assert_int_equal(shield_add(f->shield, more.list, 2, NULL), TG_OK);
    assert_int_equal(chain->slots.count, KEYCHAIN_MAX);
    struct shield_status status;
    assert_int_equal(shield_get_status(f->shield, far - 1, &status, NULL), TG_OK);
    assert_int_equal(status.expired, 2);
    entries_fini(&more);
}

static enum tg_code refuse(struct keychain *chain, const struct slots *next, struct tg_error *err)
{
    (void)chain, (void)next;
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "disk full");
}

/* What was not made durable has not happened. */
static void a_failed_save_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct keychain *chain = (struct keychain *)f->shield;
    static const uint64_t expires[] = {5000};
    struct entries more;
    struct shield_key *key = NULL;
    entries_init(&more, expires, 1);
    enum tg_code (*save)(struct keychain *, const struct slots *, struct tg_error *) = chain->save;
    chain->save = refuse;
    assert_int_equal(shield_take(f->shield, NOW, &key, NULL), TG_RESOURCE_EXHAUSTED);
    assert_int_equal(shield_add(f->shield, more.list, 1, NULL), TG_RESOURCE_EXHAUSTED);
    assert_null(key);
    chain->save = save;
    assert_int_equal(ready(f->shield), 3);
    assert_next_is(f->shield, &f->e, 2);
    entries_fini(&more);
}

static void a_slot_exchanged_in_memory_does_not_open(void **state)
{
    struct fixture *f = *state;
    struct keychain *chain = (struct keychain *)f->shield;
    struct shield_key *key = NULL;
    memcpy(chain->slots.at[2].ticket, chain->slots.at[0].ticket, TICKET_LEN);     /* another key's ticket */
    chain->slots.at[2].ticket[1 + TICKET_KEY_ID_LEN + TICKET_CENTRE_LEN + 6] = 0; /* that expires first */
    assert_int_equal(shield_take(f->shield, 0, &key, NULL), TG_DATA_LOSS);
    assert_null(key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_shield_says_so),
        cmocka_unit_test(bad_ids_are_refused),
        TEST(a_key_derives_once),
        TEST(expired_keys_are_skipped_and_the_soonest_comes_first),
        TEST(adding_is_all_or_nothing),
        TEST(a_full_shield_drops_only_what_has_expired),
        TEST(a_failed_save_changes_nothing),
        TEST(a_slot_exchanged_in_memory_does_not_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
