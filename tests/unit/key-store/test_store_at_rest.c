/* What rotation of KEKs and the ETSI GS QKD 014 server need of a store. */
#include "backends.h"

enum { KEYS = 12, SAE_KEYS = 5, QKUDS = 2, ALL = KEYS + SAE_KEYS + QKUDS };

struct rows {
    enum backend backend;
    struct scratch scratch;
    struct store *store;
    struct store_fill fill;
    struct store_new_key keys[KEYS];
    struct store_sae_key sae[SAE_KEYS];
};

static void add_sae_keys(struct rows *r)
{
    struct tg_error err;
    for (int i = 0; i < SAE_KEYS; i++) {
        struct store_sae_key *key = &r->sae[i];
        *key = (struct store_sae_key){
            .master = "alice", .slave = "bob", .bits = 64 + 8 * (unsigned)i, .created_s = 1, .expires_s = 9};
        ticket_new_key_id(key->key_id);
        random_at_rest(&key->key);
    }
    must(r->store->ops->sae_key_add(r->store, r->sae, SAE_KEYS, &err), &err);
}

static int open_rows(void **state)
{
    struct rows *r = calloc(1, sizeof *r);
    r->backend = *(const enum backend *)*state;
    *state = r;
    scratch_open(&r->scratch);
    r->store = backends_open(r->backend, &r->scratch, true);
    begin(r->store);
    add_qkud(r->store, "q1");
    add_qkud(r->store, "q2");
    add_shield(r->store, "s1");
    add_fill(r->store, "s1", &r->fill, r->keys, KEYS);
    add_sae_keys(r);
    commit(r->store);
    begin(r->store);
    return 0;
}

static int close_rows(void **state)
{
    struct rows *r = *state;
    commit(r->store);
    r->store->ops->close(r->store);
    scratch_close(&r->scratch);
    free(r);
    return 0;
}

static uint64_t rows_of(struct rows *r, uint32_t kek)
{
    struct tg_error err;
    uint64_t rows = 999;
    must(r->store->ops->kek_rows(r->store, kek, &rows, &err), &err);
    return rows;
}

static uint64_t sae_keys_of(struct rows *r, const char *master, const char *slave)
{
    struct tg_error err;
    uint64_t count = 999;
    must(r->store->ops->sae_key_count(r->store, master, slave, &count, &err), &err);
    return count;
}

/* ---- rotation ---- */

struct found {
    size_t count, of_kind[4];
    struct store_at_rest rows[ALL];
};

static void take_row(void *arg, const struct store_at_rest *row)
{
    struct found *found = arg;
    assert_true(found->count < ALL);
    found->rows[found->count++] = *row;
    found->of_kind[row->kind]++;
}

static struct found list(struct rows *r, uint32_t kek, size_t limit)
{
    struct tg_error err;
    struct found found = {0};
    must(r->store->ops->rewrap_list(r->store, kek, limit, take_row, &found, &err), &err);
    return found;
}

static enum tg_code rewrap(struct rows *r, const struct store_at_rest *row, struct at_rest *after)
{
    struct tg_error err;
    *after = row->key;
    after->kek = 2;
    random_bytes(after->wrapped, sizeof after->wrapped);
    return r->store->ops->rewrap_set(r->store, row->kind, row->id, row->id_len, &row->key, after, &err);
}

static void keys_of_every_kind_are_found_by_their_kek(void **state)
{
    struct rows *r = *state;
    struct found found = list(r, 2, ALL);
    assert_int_equal(found.of_kind[AT_REST_QUANTUM_KEY], KEYS);
    assert_int_equal(found.of_kind[AT_REST_QKUD_KEY], QKUDS);
    assert_int_equal(found.of_kind[AT_REST_SAE_KEY], SAE_KEYS);
    assert_int_equal(list(r, 0, ALL).count, ALL); /* below and above are both others */
    assert_int_equal(list(r, 1, ALL).count, 0);
    assert_int_equal(rows_of(r, 1), ALL);
    assert_int_equal(rows_of(r, 2), 0);
}

static void a_list_is_bounded(void **state)
{
    struct rows *r = *state;
    for (size_t limit = 0; limit <= ALL; limit++)
        assert_int_equal(list(r, 2, limit).count, limit);
}

static void a_key_is_rewrapped_once(void **state)
{
    struct rows *r = *state;
    struct found found = list(r, 2, ALL);
    struct at_rest after;
    for (size_t i = 0; i < ALL; i++) {
        assert_int_equal(rewrap(r, &found.rows[i], &after), TG_OK);
        assert_int_equal(rows_of(r, 2), i + 1);
        assert_int_equal(rewrap(r, &found.rows[i], &after), TG_ABORTED);
    }
    assert_int_equal(list(r, 2, ALL).count, 0);
    assert_int_equal(list(r, 1, ALL).count, ALL);
    assert_int_equal(rows_of(r, 1), 0);
}

static void a_rewrapped_key_is_what_is_found(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct found found = list(r, 2, ALL);
    struct at_rest after;
    struct store_qkud qkud;
    for (size_t i = 0; i < ALL; i++) {
        const struct store_at_rest *row = &found.rows[i];
        assert_int_equal(rewrap(r, row, &after), TG_OK);
        struct at_rest now;
        if (row->kind == AT_REST_QUANTUM_KEY) {
            now = find_key(r->store, row->id).key;
        } else if (row->kind == AT_REST_QKUD_KEY) {
            char id[3] = {(char)row->id[0], (char)row->id[1], '\0'};
            must(r->store->ops->qkud_find(r->store, id, &qkud, &err), &err);
            now = qkud.key;
        } else {
            struct store_sae_key key;
            must(r->store->ops->sae_key_take(r->store, row->id, "alice", "bob", &key, &err), &err);
            now = key.key;
        }
        assert_int_equal(now.kek, 2);
        assert_memory_equal(now.wrapped, after.wrapped, sizeof now.wrapped);
        assert_memory_equal(now.sealed, row->key.sealed, sizeof now.sealed);
    }
}

static void a_key_destroyed_meanwhile_stays_so(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct found found = list(r, 2, ALL);
    struct at_rest after;
    struct store_sae_key taken;
    uint32_t keys = 0;
    must(r->store->ops->qkud_revoke(r->store, "q1", 5, &err), &err);
    must(r->store->ops->qkud_revoke(r->store, "q2", 5, &err), &err);
    must(r->store->ops->shield_revoke(r->store, "s1", 5, &keys, &err), &err);
    for (int i = 0; i < SAE_KEYS; i++)
        must(r->store->ops->sae_key_take(r->store, r->sae[i].key_id, "alice", "bob", &taken, &err), &err);
    for (size_t i = 0; i < ALL; i++)
        assert_int_equal(rewrap(r, &found.rows[i], &after), TG_ABORTED);
    assert_int_equal(list(r, 2, ALL).count, 0);
    assert_int_equal(rows_of(r, 1) + rows_of(r, 2), 0);
}

/* Until the log has been emptied, too; not for ever. */
static void forgotten(struct rows *r, const void *needle, size_t len)
{
    uint64_t end = clock_now_ms() + 60000;
    if (r->backend != ON_SQLITE)
        return; /* not in our hands: docs/scale.md */
    assert_true(on_disk(&r->scratch, needle, len));
    commit(r->store);
    while (on_disk(&r->scratch, needle, len) && clock_now_ms() < end)
        r->store->ops->tidy(r->store, true);
    assert_false(on_disk(&r->scratch, needle, len));
    begin(r->store);
}

static void what_a_key_was_wrapped_as_is_gone_from_the_files(void **state)
{
    struct rows *r = *state;
    struct found found = list(r, 2, ALL);
    struct at_rest after;
    for (size_t i = 0; i < ALL; i++)
        assert_int_equal(rewrap(r, &found.rows[i], &after), TG_OK);
    forgotten(r, found.rows[0].key.wrapped + AT_REST_SALT_LEN, 32);
    for (size_t i = 0; i < ALL; i++)
        assert_false(on_disk(&r->scratch, found.rows[i].key.wrapped + AT_REST_SALT_LEN, 32));
}

/* ---- keys of SAEs ---- */

static void another_pair_gets_nothing(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store_sae_key key;
    static const char *const pairs[][2] = {
        {"bob", "alice"}, {"alice", "carol"}, {"carol", "bob"}, {"", ""}, {"alice", "bob "}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(
            r->store->ops->sae_key_take(r->store, r->sae[0].key_id, pairs[i][0], pairs[i][1], &key, &err),
            TG_NOT_FOUND);
        assert_int_equal(sae_keys_of(r, pairs[i][0], pairs[i][1]), 0);
    }
    assert_int_equal(sae_keys_of(r, "alice", "bob"), SAE_KEYS);
}

static void an_sae_key_is_taken_once(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    for (int i = 0; i < SAE_KEYS; i++) {
        struct store_sae_key key = {0};
        const uint8_t *id = r->sae[i].key_id;
        must(r->store->ops->sae_key_take(r->store, id, "alice", "bob", &key, &err), &err);
        assert_memory_equal(key.key_id, id, TICKET_KEY_ID_LEN);
        assert_string_equal(key.master, "alice");
        assert_string_equal(key.slave, "bob");
        assert_int_equal(key.bits, r->sae[i].bits);
        assert_int_equal(key.expires_s, 9);
        assert_memory_equal(&key.key, &r->sae[i].key, sizeof key.key);
        assert_int_equal(r->store->ops->sae_key_take(r->store, id, "alice", "bob", &key, &err), TG_NOT_FOUND);
        assert_int_equal(sae_keys_of(r, "alice", "bob"), SAE_KEYS - 1 - i);
    }
    forgotten(r, r->sae[0].key.wrapped, AT_REST_WRAPPED_LEN);
    for (int i = 0; i < SAE_KEYS; i++)
        assert_false(on_disk(&r->scratch, r->sae[i].key.sealed, AT_REST_SEALED_LEN));
}

static void the_same_keys_again_add_nothing(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    must(r->store->ops->sae_key_add(r->store, r->sae, SAE_KEYS, &err), &err);
    assert_int_equal(sae_keys_of(r, "alice", "bob"), SAE_KEYS);
}

static void a_size_outside_the_bounds_is_refused(void **state)
{
    struct rows *r = *state;
    static const uint32_t sizes[] = {0, 56, 65, 264};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tg_error err;
        struct store_sae_key key = r->sae[0];
        key.bits = sizes[i];
        ticket_new_key_id(key.key_id);
        commit(r->store);
        begin(r->store); /* found out at once, or when it is to become durable */
        if (r->store->ops->sae_key_add(r->store, &key, 1, &err) == TG_OK)
            assert_int_equal(r->store->ops->commit(r->store, &err), TG_INTERNAL);
        else
            r->store->ops->rollback(r->store);
        assert_int_equal(err.code, TG_INTERNAL);
        begin(r->store);
        assert_int_equal(sae_keys_of(r, "alice", "bob"), SAE_KEYS);
    }
}

static void sae_keys_expire(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    bool more = true;
    struct store_sae_key later = r->sae[0];
    later.expires_s = 10;
    ticket_new_key_id(later.key_id);
    must(r->store->ops->sae_key_add(r->store, &later, 1, &err), &err);
    must(r->store->ops->upkeep(r->store, &(struct store_upkeep){.now_s = 8}, &more, &err), &err);
    assert_int_equal(sae_keys_of(r, "alice", "bob"), SAE_KEYS + 1);
    must(r->store->ops->upkeep(r->store, &(struct store_upkeep){.now_s = 9}, &more, &err), &err);
    assert_false(more);
    assert_int_equal(sae_keys_of(r, "alice", "bob"), 1);
    forgotten(r, r->sae[1].key.wrapped, AT_REST_WRAPPED_LEN);
}

#define ROWS_TEST(f)                                                                                         \
    {                                                                                                        \
        cmocka_unit_test_setup_teardown(f, open_rows, close_rows), ON_ALL                                    \
    }

int main(void)
{
    const struct backend_test tests[] = {
        ROWS_TEST(keys_of_every_kind_are_found_by_their_kek),
        ROWS_TEST(a_list_is_bounded),
        ROWS_TEST(a_key_is_rewrapped_once),
        ROWS_TEST(a_rewrapped_key_is_what_is_found),
        ROWS_TEST(a_key_destroyed_meanwhile_stays_so),
        ROWS_TEST(what_a_key_was_wrapped_as_is_gone_from_the_files),
        ROWS_TEST(another_pair_gets_nothing),
        ROWS_TEST(an_sae_key_is_taken_once),
        ROWS_TEST(the_same_keys_again_add_nothing),
        ROWS_TEST(a_size_outside_the_bounds_is_refused),
        ROWS_TEST(sae_keys_expire),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
