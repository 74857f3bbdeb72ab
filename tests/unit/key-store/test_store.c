/* What a store remembers, and what it forgets for good. */
#include <signal.h>
#include <sys/resource.h>

#include "backends.h"

enum { KEYS = 40 };

struct rows {
    enum backend backend;
    struct scratch scratch;
    struct store *store;
    struct store_fill fill;
    struct store_new_key keys[KEYS];
};

static int open_rows(void **state)
{
    struct rows *r = calloc(1, sizeof *r);
    r->backend = *(const enum backend *)*state;
    *state = r;
    scratch_open(&r->scratch);
    r->store = backends_open(r->backend, &r->scratch, true);
    begin(r->store);
    add_qkud(r->store, "q1");
    add_shield(r->store, "s1");
    add_fill(r->store, "s1", &r->fill, r->keys, KEYS);
    commit(r->store);
    return 0;
}

static int close_rows(void **state)
{
    struct rows *r = *state;
    r->store->ops->close(r->store);
    scratch_close(&r->scratch);
    free(r);
    return 0;
}

static const uint8_t request_id[REQUEST_ID_LEN] = "request request";

static enum tg_code spend(struct rows *r, const struct store_key *key, const char *answer,
                          struct tg_error *err)
{
    return r->store->ops->key_spend(r->store, key,
                                    &(struct store_spend){.now_s = 1500,
                                                          .qkud_id = "q1",
                                                          .request_id = request_id,
                                                          .answer = (const uint8_t *)answer,
                                                          .answer_len = strlen(answer)},
                                    err);
}

static void check_counts(struct rows *r, unsigned made, unsigned ready, unsigned spent)
{
    struct tg_error err;
    struct store_shield shield;
    must(r->store->ops->shield_find(r->store, "s1", &shield, &err), &err);
    assert_int_equal(shield.made, made);
    assert_int_equal(shield.ready, ready);
    assert_int_equal(shield.spent, spent);
}

/* Until the log has been emptied, too; not for ever. */
static void forgotten(struct rows *r, const void *needle, size_t len)
{
    uint64_t end = clock_now_ms() + 60000;
    if (r->backend != ON_SQLITE)
        return; /* not in our hands: docs/scale.md */
    while (on_disk(&r->scratch, needle, len) && clock_now_ms() < end)
        r->store->ops->tidy(r->store, true);
    assert_false(on_disk(&r->scratch, needle, len));
}

static void tidied(struct rows *r)
{
    forgotten(r, r->keys[0].key.wrapped + AT_REST_SALT_LEN, 32);
}

static void made_spent_and_revoked_keys_cannot_be_spent(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    begin(r->store);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    assert_int_equal(key.state, KEY_MADE);
    assert_int_equal(spend(r, &key, "a", &err), TG_ABORTED);
    confirm_fill(r->store, &r->fill);
    must(spend(r, &key, "a", &err), &err);
    assert_int_equal(spend(r, &key, "b", &err), TG_ABORTED);
    struct store_key other = find_key(r->store, r->keys[1].key_id);
    must(r->store->ops->key_revoke(r->store, &other, &err), &err);
    assert_int_equal(spend(r, &other, "b", &err), TG_ABORTED);
    commit(r->store);
}

static void an_unknown_name_is_not_found(void **state)
{
    struct rows *r = *state;
    struct store_key key;
    struct store_qkud qkud;
    struct store_shield shield;
    struct store_fill fill;
    uint32_t keys;
    uint8_t id[16] = {0};
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    assert_int_equal(ops->key_find(r->store, id, &key, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->fill_find(r->store, id, &fill, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->qkud_find(r->store, "q2", &qkud, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->qkud_revoke(r->store, "q2", 1, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->shield_find(r->store, "s2", &shield, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->shield_revoke(r->store, "s2", 1, &keys, NULL), TG_NOT_FOUND);
    assert_int_equal(ops->qkud_find(r->store, "q1' OR 1 --", &qkud, NULL), TG_NOT_FOUND);
    commit(r->store);
}

static void names_and_requests_are_taken_once(void **state)
{
    struct rows *r = *state;
    const struct store_ops *ops = r->store->ops;
    struct store_qkud qkud = {.id = "q1", .key = {.kek = 1}};
    struct store_shield shield = {.id = "s1"};
    struct store_new_key key = {.key.kek = 1};
    begin(r->store);
    assert_int_equal(ops->qkud_add(r->store, &qkud, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(ops->shield_add(r->store, &shield, NULL), TG_ALREADY_EXISTS);
    assert_int_equal(ops->fill_add(r->store, &r->fill, &key, 1, NULL), TG_ALREADY_EXISTS);
    check_counts(r, KEYS, 0, 0);
    commit(r->store);
}

static void an_item_undone_leaves_the_others_of_its_transaction(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    must(ops->mark(r->store, &err), &err);
    confirm_fill(r->store, &r->fill);
    must(ops->unmark(r->store, true, &err), &err);
    must(ops->mark(r->store, &err), &err);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    must(ops->key_revoke(r->store, &key, &err), &err);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_REVOKED);
    must(ops->unmark(r->store, false, &err), &err);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_READY);
    commit(r->store);
    begin(r->store);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_READY);
    check_counts(r, 0, KEYS, 0);
    commit(r->store);
}

/* It, or the whole transaction. */
static void a_spend_undone_is_undone(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    commit(r->store);
    begin(r->store);
    must(ops->mark(r->store, &err), &err);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    must(spend(r, &key, "a", &err), &err);
    if (ops->unmark(r->store, false, &err) == TG_OK) {
        commit(r->store);
    } else {
        assert_int_equal(err.code, TG_INTERNAL);
        assert_int_equal(ops->key_find(r->store, r->keys[1].key_id, &key, &err), TG_INTERNAL);
        assert_int_equal(ops->commit(r->store, &err), TG_INTERNAL);
    }
    begin(r->store);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_READY);
    check_counts(r, 0, KEYS, 0);
    commit(r->store);
}

static void keys_expected_are_found_as_they_are(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    const struct store_ops *ops = r->store->ops;
    const uint8_t nobody[TICKET_KEY_ID_LEN] = {0};
    const uint8_t *ids[KEYS + 2] = {nobody, r->keys[3].key_id};
    struct store_key key;
    for (int i = 0; i < KEYS; i++)
        ids[i + 2] = r->keys[i].key_id;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    must(ops->keys_expected(r->store, ids, KEYS + 2, &err), &err);
    assert_int_equal(ops->key_find(r->store, nobody, &key, &err), TG_NOT_FOUND);
    for (int i = 0; i < KEYS; i++) {
        key = find_key(r->store, r->keys[i].key_id);
        assert_int_equal(key.state, KEY_READY);
        assert_memory_equal(&key.key, &r->keys[i].key, sizeof key.key);
        assert_string_equal(key.shield.owner, "alice");
        must(spend(r, &key, "a", &err), &err);
        assert_int_equal(find_key(r->store, r->keys[i].key_id).state, KEY_SPENT);
        assert_int_equal(spend(r, &key, "b", &err), TG_ABORTED);
    }
    check_counts(r, 0, 0, KEYS);
    commit(r->store);
    begin(r->store);
    check_counts(r, 0, 0, KEYS);
    commit(r->store);
}

static void a_note_is_added_once(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint8_t note[STORE_NOTE_MAX];
    size_t len = 0;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    must(ops->note_add(r->store, "n", "one", 3, &err), &err);
    assert_int_equal(ops->note_add(r->store, "n", "two", 3, &err), TG_ALREADY_EXISTS);
    must(ops->note_find(r->store, "n", note, &len, &err), &err);
    assert_int_equal(len, 3);
    assert_memory_equal(note, "one", 3);
    commit(r->store);
}

static void a_spent_key_is_gone_from_the_files(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    commit(r->store);
    assert_true(on_disk(&r->scratch, r->keys[0].key.wrapped, AT_REST_WRAPPED_LEN));
    begin(r->store);
    for (int i = 0; i < KEYS - 1; i++) {
        struct store_key key = find_key(r->store, r->keys[i].key_id);
        must(spend(r, &key, "answer", &err), &err);
    }
    commit(r->store);
    tidied(r);
    for (int i = 0; i < KEYS - 1; i++) {
        /* not even a piece of it: pages are rewritten when rows shrink */
        assert_false(on_disk(&r->scratch, r->keys[i].key.wrapped + AT_REST_SALT_LEN, 16));
        assert_false(on_disk(&r->scratch, r->keys[i].key.wrapped + AT_REST_WRAPPED_LEN - 24, 16));
        assert_false(on_disk(&r->scratch, r->keys[i].key.sealed + 4, 16));
        begin(r->store);
        assert_int_equal(find_key(r->store, r->keys[i].key_id).key.kek, 0);
        commit(r->store);
    }
    assert_true(on_disk(&r->scratch, r->keys[KEYS - 1].key.wrapped, AT_REST_WRAPPED_LEN));
}

static void revoked_shields_and_qkuds_are_destroyed(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint32_t keys = 0;
    struct store_qkud qkud;
    struct store_shield shield;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    must(ops->qkud_find(r->store, "q1", &qkud, &err), &err);
    assert_false(qkud.revoked);
    confirm_fill(r->store, &r->fill);
    struct store_key spent = find_key(r->store, r->keys[1].key_id);
    must(spend(r, &spent, "a", &err), &err);
    must(ops->shield_revoke(r->store, "s1", 1600, &keys, &err), &err);
    assert_int_equal(keys, KEYS - 1);
    must(ops->shield_revoke(r->store, "s1", 1700, &keys, &err), &err);
    assert_int_equal(keys, 0);
    must(ops->qkud_revoke(r->store, "q1", 1600, &err), &err);
    must(ops->qkud_revoke(r->store, "q1", 1700, &err), &err);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_REVOKED);
    assert_true(find_key(r->store, r->keys[0].key_id).shield.revoked);
    assert_int_equal(find_key(r->store, r->keys[1].key_id).state, KEY_SPENT);
    must(ops->shield_find(r->store, "s1", &shield, &err), &err);
    assert_true(shield.revoked);
    check_counts(r, 0, 0, 1);
    commit(r->store);
    tidied(r);
    assert_false(on_disk(&r->scratch, qkud.key.wrapped + AT_REST_SALT_LEN, 32));
    begin(r->store);
    must(ops->qkud_find(r->store, "q1", &qkud, &err), &err);
    assert_true(qkud.revoked);
    assert_int_equal(qkud.key.kek, 0);
    commit(r->store);
}

static void an_answer_is_kept_for_its_window_and_no_longer(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint8_t out[STORE_ANSWER_MAX];
    size_t len = 0;
    bool more = true;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    assert_int_equal(ops->key_answer(r->store, &key, 0, out, &len, &err), TG_NOT_FOUND);
    must(spend(r, &key, "the very answer", &err), &err);
    key = find_key(r->store, r->keys[0].key_id);
    assert_memory_equal(key.request_id, request_id, sizeof request_id);
    assert_string_equal(key.spent_by, "q1");
    assert_int_equal(key.spent_s, 1500);
    assert_int_equal(ops->key_answer(r->store, &key, 1501, out, &len, &err), TG_NOT_FOUND);
    must(ops->key_answer(r->store, &key, 1500, out, &len, &err), &err);
    assert_int_equal(len, 15);
    assert_memory_equal(out, "the very answer", 15);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 1560, .answers_before_s = 1500}, &more, &err),
         &err);
    must(ops->key_answer(r->store, &key, 1500, out, &len, &err), &err);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 1561, .answers_before_s = 1501}, &more, &err),
         &err);
    assert_int_equal(ops->key_answer(r->store, &key, 1500, out, &len, &err), TG_NOT_FOUND);

    /* the next answer gets the same row number: it must not become the first key's */
    struct store_key other = find_key(r->store, r->keys[1].key_id);
    must(spend(r, &other, "another", &err), &err);
    assert_int_equal(ops->key_answer(r->store, &key, 1500, out, &len, &err), TG_NOT_FOUND);
    commit(r->store);
    forgotten(r, "the very answer", 15);
}

static void answers_from_the_future_are_forgotten(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint8_t out[STORE_ANSWER_MAX];
    size_t len = 0;
    bool more = true;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    must(spend(r, &key, "a", &err), &err);
    must(r->store->ops->upkeep(r->store, &(struct store_upkeep){.now_s = 1400, .answers_before_s = 1340},
                               &more, &err),
         &err);
    assert_int_equal(r->store->ops->key_answer(r->store, &key, 0, out, &len, &err), TG_NOT_FOUND);
    commit(r->store);
}

static void keys_expire_and_fills_lapse(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    bool more = false;
    struct store_fill fill;
    struct store_new_key keys[2];
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    add_fill(r->store, "s1", &fill, keys, 2);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 1999, .fills_before_s = 1000}, &more, &err),
         &err);
    assert_false(more);
    check_counts(r, 2, KEYS, 0);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 1999, .fills_before_s = 1001}, &more, &err),
         &err);
    assert_true(more);
    assert_int_equal(find_key(r->store, keys[0].key_id).state, KEY_REVOKED);
    check_counts(r, 0, KEYS, 0);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 2000}, &more, &err), &err);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 2000}, &more, &err), &err);
    must(ops->upkeep(r->store, &(struct store_upkeep){.now_s = 2000}, &more, &err), &err);
    assert_false(more);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_EXPIRED);
    check_counts(r, 0, 0, 0);
    commit(r->store);
    tidied(r);
}

struct page {
    size_t count;
    struct store_key last;
};

static void take_key(void *arg, const struct store_key *key)
{
    struct page *page = arg;
    page->count++;
    page->last = *key;
}

static void keys_are_listed_by_pages_and_filters(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct page page = {0};
    uint8_t nobody[TICKET_KEY_ID_LEN] = {0};
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    struct store_key_filter all = {.shield_id = "", .state = KEY_STATES, .after_key_id = nobody};
    assert_int_equal(ops->key_list(r->store, &all, 10, take_key, &page, &err), TG_NOT_FOUND);
    all.after_key_id = NULL;
    must(ops->key_list(r->store, &all, KEYS - 1, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS - 1);
    uint8_t after[TICKET_KEY_ID_LEN];
    memcpy(after, page.last.key_id, sizeof after);
    all.after_key_id = after;
    must(ops->key_list(r->store, &all, KEYS, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS);
    assert_memory_equal(page.last.key_id, r->keys[KEYS - 1].key_id, sizeof after);
    const struct store_key_filter ready = {.shield_id = "s1", .state = KEY_READY};
    must(ops->key_list(r->store, &ready, KEYS, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS);
    const struct store_key_filter hers = {.shield_id = "", .state = KEY_STATES, .owner = "alice"};
    const struct store_key_filter his = {.shield_id = "", .state = KEY_STATES, .owner = "bob"};
    const struct store_key_filter old = {.shield_id = "s1", .state = KEY_STATES, .expires_before_s = 2000};
    must(ops->key_list(r->store, &his, KEYS, take_key, &page, &err), &err);
    must(ops->key_list(r->store, &old, KEYS, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS);
    must(ops->key_list(r->store, &hers, 3, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS + 3);
    page.count = KEYS;
    const struct store_key_filter none = {.shield_id = "s2", .state = KEY_STATES};
    must(ops->key_list(r->store, &none, KEYS, take_key, &page, &err), &err);
    assert_int_equal(page.count, KEYS);
    commit(r->store);
}

/* No byte of any file may go beyond what it has now. */
static void limit_file_size(const struct rows *r, bool on)
{
    char wal[128];
    struct stat st;
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    snprintf(wal, sizeof wal, "%s-wal", r->scratch.database);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = on ? (rlim_t)st.st_size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_fails_the_commit_and_changes_nothing(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    signal(SIGXFSZ, SIG_IGN);
    begin(r->store);
    confirm_fill(r->store, &r->fill);
    commit(r->store);
    limit_file_size(r, true);
    for (int i = 0; i < 3; i++) {
        begin(r->store);
        struct store_key key = find_key(r->store, r->keys[0].key_id);
        must(spend(r, &key, "a", &err), &err);
        assert_int_equal(r->store->ops->commit(r->store, &err), TG_UNAVAILABLE);
        assert_non_null(strstr(err.text, r->scratch.database));
    }
    limit_file_size(r, false);
    begin(r->store);
    struct store_key key = find_key(r->store, r->keys[0].key_id);
    assert_int_equal(key.state, KEY_READY);
    must(spend(r, &key, "a", &err), &err);
    commit(r->store);
    r->store->ops->close(r->store);
    r->store = backends_open(r->backend, &r->scratch, false);
    begin(r->store);
    assert_int_equal(find_key(r->store, r->keys[0].key_id).state, KEY_SPENT);
    commit(r->store);
}

static void what_was_committed_survives(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint8_t note[STORE_NOTE_MAX];
    size_t len = 0;
    const struct store_ops *ops = r->store->ops;
    begin(r->store);
    assert_int_equal(ops->note_find(r->store, "n", note, &len, &err), TG_NOT_FOUND);
    must(ops->note_set(r->store, "n", "one", 3, &err), &err);
    must(ops->note_set(r->store, "n", "two", 3, &err), &err);
    commit(r->store);
    begin(r->store);
    must(ops->note_set(r->store, "n", "six", 3, &err), &err);
    ops->rollback(r->store);
    ops->close(r->store);
    r->store = backends_open(r->backend, &r->scratch, false);
    begin(r->store);
    must(ops->note_find(r->store, "n", note, &len, &err), &err);
    assert_int_equal(len, 3);
    assert_memory_equal(note, "two", 3);
    check_counts(r, KEYS, 0, 0);
    commit(r->store);
}

#define ROWS_TEST_ON(f, on)                                                                                  \
    {                                                                                                        \
        cmocka_unit_test_setup_teardown(f, open_rows, close_rows), on                                        \
    }
#define ROWS_TEST(f) ROWS_TEST_ON(f, ON_ALL)

int main(void)
{
    const struct backend_test tests[] = {
        ROWS_TEST(made_spent_and_revoked_keys_cannot_be_spent),
        ROWS_TEST(an_unknown_name_is_not_found),
        ROWS_TEST(names_and_requests_are_taken_once),
        ROWS_TEST(an_item_undone_leaves_the_others_of_its_transaction),
        ROWS_TEST(a_spend_undone_is_undone),
        ROWS_TEST_ON(keys_expected_are_found_as_they_are, 1 << ON_POSTGRES),
        ROWS_TEST(a_note_is_added_once),
        ROWS_TEST_ON(a_spent_key_is_gone_from_the_files, ON_FILE),
        ROWS_TEST(revoked_shields_and_qkuds_are_destroyed),
        ROWS_TEST(an_answer_is_kept_for_its_window_and_no_longer),
        ROWS_TEST(answers_from_the_future_are_forgotten),
        ROWS_TEST(keys_expire_and_fills_lapse),
        ROWS_TEST(keys_are_listed_by_pages_and_filters),
        ROWS_TEST_ON(a_full_disk_fails_the_commit_and_changes_nothing, ON_FILE),
        ROWS_TEST_ON(what_was_committed_survives, ON_DISK),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
