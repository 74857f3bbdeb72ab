/* Rotation of KEKs in a key store as it runs: what is refused, what holds it up, and that it disturbs nobody.
 */
#include "rig.h"

#include <sqlite3.h>

#include "services/key-store/await.h"

static char second[128]; /* KEK 2's file */

/* What SIGHUP would bring: KEK 1 as ever, and KEK 2 in that file. */
static void reload(struct rig *r, char *file)
{
    struct kek_config keks[] = {{.id = 2, .file = file}, {.id = 1, .file = r->scratch.kek}};
    const struct key_store_config config = {.keks = {keks, 2}};
    key_store_reload(r->ks, &config);
}

static int open_rotation(void **state)
{
    rig_open(state);
    struct rig *r = *state;
    snprintf(second, sizeof second, "%s/kek-2.key", r->scratch.dir);
    write_key(second);
    return 0;
}

static Tg__KekListResponse *list(struct rig *r)
{
    Tg__KekListRequest request = TG__KEK_LIST_REQUEST__INIT;
    return answered(r->admin, "KekList", &request.base);
}

/* How many keys each KEK wraps, and whether a rotation is under way. */
struct seen {
    uint64_t keys[3];
    bool known[3], newest[3], removable[3], rotating;
    uint64_t rewrapped;
    char problem[ROTATION_PROBLEM_MAX];
};

static struct seen see(struct rig *r)
{
    Tg__KekListResponse *response = list(r);
    struct seen seen = {.rotating = response->rotating, .rewrapped = response->rewrapped};
    snprintf(seen.problem, sizeof seen.problem, "%s", response->problem);
    for (size_t i = 0; i < response->n_keks; i++) {
        const Tg__Kek *kek = response->keks[i];
        assert_in_range(kek->kek_id, 1, 2);
        assert_int_equal(kek->kek_id, i + 1); /* in order, whatever the configuration's */
        assert_memory_equal(kek->place, "file /", 6);
        seen.keys[kek->kek_id] = kek->keys;
        seen.known[kek->kek_id] = true;
        seen.newest[kek->kek_id] = kek->newest;
        seen.removable[kek->kek_id] = kek->removable;
    }
    rpc_free_response(&response->base);
    return seen;
}

static void rotate(struct rig *r, uint64_t keys)
{
    Tg__KekRotateRequest request = TG__KEK_ROTATE_REQUEST__INIT;
    Tg__KekRotateResponse *response = answered(r->admin, "KekRotate", &request.base);
    assert_int_equal(response->kek_id, 2);
    assert_int_equal(response->keys, keys);
    rpc_free_response(&response->base);
}

static bool is_over(struct rig *r)
{
    return !see(r).rotating;
}

/* A restart with both KEKs in the configuration. */
static void again_with_both(struct rig *r)
{
    struct kek_config keks[] = {{.id = 1, .file = r->scratch.kek}, {.id = 2, .file = second}};
    key_store_down(r);
    r->keks = (struct config_list){keks, 2};
    key_store_up(r);
    r->keks = (struct config_list){0};
    EVENTUALLY(rpc_client_ready(r->admin) && rpc_client_ready(r->resolver) && rpc_client_ready(r->charger));
}

/* ---- what is refused ---- */

static void without_a_newer_kek_there_is_nothing_to_rotate(void **state)
{
    struct rig *r = *state;
    Tg__KekRotateRequest request = TG__KEK_ROTATE_REQUEST__INIT;
    refused(r->admin, "KekRotate", &request.base, TG_FAILED_PRECONDITION, "there is only KEK 1");
    refused(r->resolver, "KekRotate", &request.base, TG_PERMISSION_DENIED, "");
    Tg__KekListRequest listing = TG__KEK_LIST_REQUEST__INIT;
    refused(r->charger, "KekList", &listing.base, TG_PERMISSION_DENIED, "");
    assert_true(is_over(r));
    assert_int_equal(count_events(r, "kek.rotation_started"), 0);
}

static void a_bad_kek_is_not_taken_up_and_the_others_stay(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    assert_int_equal(chmod(second, 0444), 0);
    reload(r, second);
    assert_false(see(r).known[2]);
    assert_int_equal(chmod(second, 0400), 0);
    reload(r, second);
    assert_true(see(r).newest[2]);

    /* The database knows KEK 2 from now on, and it is another. */
    key_store_down(r);
    key_store_up(r);
    reload(r, r->scratch.ticket_key);
    EVENTUALLY(rpc_client_ready(r->admin) && rpc_client_ready(r->resolver));
    assert_false(see(r).known[2]);
    assert_true(see(r).newest[1]);
    reload(r, second);
    assert_true(see(r).newest[2]);
    spend_ok(r, filled->entries[0]);
    rpc_free_response(&filled->base);
}

/* ---- what it does ---- */

static void what_lay_under_the_old_kek_lies_under_the_new_one(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 300); /* more than two pieces; and QKUD q1 */
    reload(r, second);
    struct seen before = see(r);
    assert_int_equal(before.keys[1], 301);
    assert_false(before.removable[1] || before.rotating);
    add_shield_of(r, "s2", "alice");
    Tg__FillRequest more = fill_request("s2", "alice", 5);
    done(r->charger, "Fill", &more.base);
    assert_int_equal(see(r).keys[2], 5); /* at once */

    rotate(r, 301);
    EVENTUALLY(is_over(r));
    struct seen after = see(r);
    assert_int_equal(after.keys[1], 0);
    assert_int_equal(after.keys[2], 306);
    assert_int_equal(after.rewrapped, 301);
    assert_true(after.removable[1] && after.newest[2]);
    assert_false(after.removable[2] || after.newest[1]);
    struct event event = wait_event(r, "kek.rotation_started", false);
    assert_string_equal(event.detail, "to KEK 2, 301 keys");
    assert_string_equal(event.peer, "operator");
    event = wait_event(r, "kek.rotated", false);
    assert_string_equal(event.detail, "KEK 2 wraps all keys, 301 rewrapped");
    for (size_t i = 0; i < 300; i += 50)
        spend_ok(r, filled->entries[i]);
    rpc_free_response(&filled->base);

    rotate(r, 0); /* nothing is left: harmless */
    EVENTUALLY(is_over(r));
    assert_int_equal(see(r).keys[2], 300);
}

/* Each key is either rewrapped or spent; a spent one is never brought back. */
static void spends_and_a_rotation_do_not_disturb_each_other(void **state)
{
    enum { KEYS = 600 };
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, KEYS);
    reload(r, second);
    rotate(r, KEYS + 1);
    for (size_t i = 0; i < KEYS; i += 3)
        spend_ok(r, filled->entries[KEYS - 1 - i]);
    EVENTUALLY(is_over(r));
    assert_int_equal(see(r).keys[1], 0);
    assert_int_equal(see(r).keys[2], KEYS - KEYS / 3 + 1);
    for (size_t i = 0; i < KEYS; i += 75) {
        Tg__SpendRequest spend = spend_request(filled->entries[KEYS - 1 - i]);
        refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
        spend_ok(r, filled->entries[KEYS - 2 - i]);
    }
    rpc_free_response(&filled->base);
}

/* ---- what holds it up ---- */

static void a_rotation_is_over_only_when_auditors_know(void **state)
{
    struct rig *r = *state;
    rpc_free_response(&fill_s1(r, 10)->base);
    reload(r, second);
    audit_set(r, AUDIT_REFUSES);
    Tg__KekRotateRequest request = TG__KEK_ROTATE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    /* Done, but not audited in time: the answer is withheld. */
    assert_int_equal(call_id(r->admin, "KekRotate", &request.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    EVENTUALLY(strstr(see(r).problem, "audit log does not have it yet") != NULL);
    assert_int_equal(see(r).keys[1], 0);
    assert_true(see(r).rotating);
    audit_set(r, AUDIT_TAKES);
    EVENTUALLY(is_over(r));
    wait_event(r, "kek.rotated", false);
    assert_string_equal(see(r).problem, "");
}

/* Flips a bit of one key's wrapped data key. */
static void alter_row(const struct rig *r, const uint8_t key_id[TICKET_KEY_ID_LEN])
{
    sqlite3 *db = NULL;
    sqlite3_stmt *set = NULL;
    assert_int_equal(sqlite3_open(r->scratch.database, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "UPDATE keys SET wrapped = zeroblob(64) WHERE key_id = ?1", -1, &set, NULL),
        SQLITE_OK);
    sqlite3_bind_blob(set, 1, key_id, TICKET_KEY_ID_LEN, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(set), SQLITE_DONE);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_finalize(set);
    sqlite3_close(db);
}

static void a_key_that_does_not_open_is_named_and_the_others_go_on(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 200);
    struct ticket ticket;
    struct tg_error err;
    must(ticket_peek(filled->entries[7]->ticket.data, TICKET_LEN, &ticket, &err), &err);
    key_store_down(r);
    alter_row(r, ticket.key_id);
    key_store_up(r);
    reload(r, second);
    EVENTUALLY(rpc_client_ready(r->admin));
    rotate(r, 201);
    char id[37];
    ticket_key_id_text(ticket.key_id, id);
    EVENTUALLY(strstr(see(r).problem, id) != NULL);
    assert_int_equal(see(r).keys[1], 1);
    assert_int_equal(see(r).keys[2], 200);
    assert_false(see(r).removable[1]);

    Tg__KeyRevokeRequest revoke = TG__KEY_REVOKE_REQUEST__INIT;
    revoke.key_id = pb_bytes(ticket.key_id, sizeof ticket.key_id);
    done(r->admin, "KeyRevoke", &revoke.base);
    EVENTUALLY(is_over(r));
    assert_true(see(r).removable[1]);
    rpc_free_response(&filled->base);
}

/* ---- what it remembers ---- */

static void it_goes_on_after_a_restart(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 500);
    reload(r, second);
    rotate(r, 501);
    again_with_both(r); /* somewhere in the middle, or at once after */
    EVENTUALLY(is_over(r));
    assert_int_equal(see(r).keys[1], 0);
    assert_int_equal(see(r).keys[2], 501);
    spend_ok(r, filled->entries[499]);
    again_with_both(r);
    assert_true(is_over(r));
    rpc_free_response(&filled->base);
}

/* ---- several key stores on one database ---- */

/* Beside `a`, with its audit service and RADIUS bridge, on its database; KEK 1 alone. */
static void open_beside(struct rig *b, const struct rig *a)
{
    static const char *const peers[] = {"audit", "bridge"};
    *b = (struct rig){.backend = a->backend, .scratch = a->scratch};
    memcpy(b->qkud_key, a->qkud_key, sizeof b->qkud_key);
    snprintf(b->scratch.dir, sizeof b->scratch.dir, "%.40s/b", a->scratch.dir);
    assert_int_equal(mkdir(b->scratch.dir, 0700), 0);
    for (size_t i = 0; i < 2; i++) {
        char from[128];
        char to[128];
        snprintf(from, sizeof from, "../%s", peers[i]);
        snprintf(to, sizeof to, "%s/%s", b->scratch.dir, peers[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    key_store_up(b);
    b->resolver = rig_client(b, "resolver");
    b->charger = rig_client(b, "charger");
    b->admin = rig_client(b, "operator");
    EVENTUALLY(rpc_client_ready(b->admin) && rpc_client_ready(b->resolver));
}

static void close_beside(struct rig *b)
{
    rpc_client_close(b->resolver);
    rpc_client_close(b->charger);
    rpc_client_close(b->admin);
    key_store_down(b);
    scratch_close(&b->scratch);
}

static void a_key_store_without_the_new_kek_says_so_and_takes_it_up(void **state)
{
    struct rig *r = *state;
    struct rig b;
    Tg__FillResponse *filled = fill_s1(r, 200);
    open_beside(&b, r);
    reload(r, second);
    rotate(r, 201);
    EVENTUALLY(is_over(r));
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    struct tg_error err;
    ProtobufCMessage *response = NULL;
    assert_int_equal(call_id(b.resolver, "Spend", &spend.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "KEK 2, which this key store does not have"));
    reload(&b, second);
    spend_ok(&b, filled->entries[0]); /* nothing was lost by it */
    spend_ok(r, filled->entries[1]);
    assert_int_equal(see(&b).keys[2], 199);
    close_beside(&b);
    rpc_free_response(&filled->base);
}

static enum tg_code ask_for_kek_2(void *arg, struct store *store, struct tg_error *err)
{
    static const uint8_t two[] = {0, 0, 0, 2};
    (void)arg;
    return store->ops->note_set(store, "kek rotation", two, sizeof two, err);
}

/* All keys lie under its own newest KEK: that the rotation is over is not for it to say. */
static void a_key_store_without_the_new_kek_ends_no_rotation(void **state)
{
    struct rig *r = *state;
    struct rig b;
    struct tg_error err;
    rpc_free_response(&fill_s1(r, 20)->base);
    must(writer_await(r->ks->writer, ask_for_kek_2, NULL, &err), &err); /* r itself does not look yet */
    open_beside(&b, r);
    EVENTUALLY(strstr(see(&b).problem, "KEK 2 is to wrap all keys") != NULL);
    assert_true(see(&b).rotating);
    assert_int_equal(see(r).keys[1], 21);
    reload(&b, second);
    EVENTUALLY(is_over(&b));
    assert_int_equal(see(&b).keys[2], 21);
    close_beside(&b);
}

static void two_key_stores_rotate_together(void **state)
{
    struct rig *r = *state;
    struct rig b;
    Tg__FillResponse *filled = fill_s1(r, 600);
    open_beside(&b, r);
    reload(r, second);
    reload(&b, second);
    rotate(r, 601);
    Tg__KekRotateRequest request = TG__KEK_ROTATE_REQUEST__INIT;
    done(b.admin, "KekRotate", &request.base);
    EVENTUALLY(is_over(r) && is_over(&b));
    assert_int_equal(see(r).keys[1], 0);
    assert_int_equal(see(&b).keys[2], 601);
    for (size_t i = 0; i < 600; i += 60)
        spend_ok(i % 120 == 0 ? r : &b, filled->entries[i]);
    close_beside(&b);
    rpc_free_response(&filled->base);
}

#define ROTATION_TEST(f, on)                                                                                 \
    {                                                                                                        \
        cmocka_unit_test_setup_teardown(f, open_rotation, rig_close), on                                     \
    }

int main(void)
{
    static const struct backend_test tests[] = {
        ROTATION_TEST(without_a_newer_kek_there_is_nothing_to_rotate, ON_FILE),
        ROTATION_TEST(a_bad_kek_is_not_taken_up_and_the_others_stay, ON_DISK),
        ROTATION_TEST(what_lay_under_the_old_kek_lies_under_the_new_one, ON_DISK),
        ROTATION_TEST(spends_and_a_rotation_do_not_disturb_each_other, ON_DISK),
        ROTATION_TEST(a_rotation_is_over_only_when_auditors_know, ON_DISK),
        ROTATION_TEST(a_key_that_does_not_open_is_named_and_the_others_go_on, ON_FILE),
        ROTATION_TEST(it_goes_on_after_a_restart, ON_DISK),
        ROTATION_TEST(a_key_store_without_the_new_kek_says_so_and_takes_it_up, 1 << ON_POSTGRES),
        ROTATION_TEST(a_key_store_without_the_new_kek_ends_no_rotation, 1 << ON_POSTGRES),
        ROTATION_TEST(two_key_stores_rotate_together, 1 << ON_POSTGRES),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
