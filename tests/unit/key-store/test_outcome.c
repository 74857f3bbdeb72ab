/* Commits whose outcome is not known: they took effect, and the store says that it does not know. Every call
 * is applied again, finds its own traces, and answers as if nothing had been. */
#include "rig.h"

static const struct store_ops *real;
static _Atomic unsigned doubts; /* how many of the next commits end so */
static _Atomic unsigned doubted;

static enum tg_code commit_in_doubt(struct store *store, struct tg_error *err)
{
    TG_TRY(real->commit(store, err));
    if (doubts == 0)
        return TG_OK;
    doubts--;
    doubted++;
    return tg_fail(err, TG_ABORTED, "the connection broke while the commit waited");
}

static int open_doubtful(void **state)
{
    static struct store_ops ops;
    rig_open(state);
    struct rig *r = *state;
    real = r->ks->store->ops;
    ops = *real;
    ops.commit = commit_in_doubt;
    r->ks->store->ops = &ops;
    doubts = doubted = 0;
    return 0;
}

/* The next call's commit, whichever of it and upkeep's comes first, and one more. */
#define IN_DOUBT(call)                                                                                       \
    do {                                                                                                     \
        unsigned before_ = doubted;                                                                          \
        doubts = 2;                                                                                          \
        call;                                                                                                \
        EVENTUALLY(doubts == 0);                                                                             \
        assert_int_equal(doubted - before_, 2);                                                              \
    } while (0)

/* The event is there, and its detail does not say `word`. */
static void audited_without(struct rig *r, const char *name, const char *word)
{
    struct event event;
    assert_true(find_event(r, name, false, &event));
    if (strstr(event.detail, word) != NULL)
        fail_msg("%s: %s", name, event.detail);
}

static void a_qkud_added_in_doubt_is_added_once(void **state)
{
    struct rig *r = *state;
    Tg__QkudAddRequest add = TG__QKUD_ADD_REQUEST__INIT;
    add.qkud_id = pb_string("q1");
    IN_DOUBT(add_qkud_q1(r));
    refused(r->admin, "QkudAdd", &add.base, TG_ALREADY_EXISTS, "q1"); /* another request's is another's */
}

static void a_shield_added_in_doubt_is_added_once(void **state)
{
    struct rig *r = *state;
    Tg__ShieldAddRequest add = TG__SHIELD_ADD_REQUEST__INIT;
    add.shield_id = pb_string("s1");
    add.owner = pb_string("alice");
    add.policy = pb_string("ops");
    IN_DOUBT(add_shield_of(r, "s1", "alice"));
    refused(r->admin, "ShieldAdd", &add.base, TG_ALREADY_EXISTS, "s1"); /* though it says the same */
}

static void keys_made_confirmed_and_spent_in_doubt_are_so_once(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = NULL;
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", 3);
    IN_DOUBT(filled = answered(r->charger, "Fill", &fill.base));
    assert_int_equal(filled->n_entries, 3);
    IN_DOUBT(confirm(r, filled, "s1", 3));
    for (int i = 0; i < 3; i++)
        IN_DOUBT(spend_ok(r, filled->entries[i]));
    assert_int_equal(atomic_load(&r->ks->keys_spent), 3);
    audited_without(r, "keys.ready", "before");
    audited_without(r, "key.spent", "again"); /* an auditor would look for the first time */
    for (int i = 0; i < 3; i++) {
        Tg__SpendRequest spend = spend_request(filled->entries[i]);
        refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
    }
    rpc_free_response(&filled->base);
}

static void what_is_revoked_in_doubt_is_revoked(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    Tg__KeyRevokeRequest key = TG__KEY_REVOKE_REQUEST__INIT;
    Tg__ShieldRevokeRequest shield = TG__SHIELD_REVOKE_REQUEST__INIT;
    Tg__QkudRevokeRequest qkud = TG__QKUD_REVOKE_REQUEST__INIT;
    key.ticket = filled->entries[0]->ticket;
    shield.shield_id = pb_string("s1");
    qkud.qkud_id = pb_string("q1");
    IN_DOUBT(done(r->admin, "KeyRevoke", &key.base));
    Tg__ShieldRevokeResponse *revoked = NULL;
    IN_DOUBT(revoked = answered(r->admin, "ShieldRevoke", &shield.base));
    assert_int_equal(revoked->keys_revoked, 1);
    rpc_free_response(&revoked->base);
    IN_DOUBT(done(r->admin, "QkudRevoke", &qkud.base));
    Tg__SpendRequest spend = spend_request(filled->entries[1]);
    refused(r->resolver, "Spend", &spend.base, TG_PERMISSION_DENIED, "revoked");
    rpc_free_response(&filled->base);
}

/* A list that is read again must begin anew: rows of the first time would stand there twice, and beyond the
 * room for them. */
static void lists_read_in_doubt_are_read_once(void **state)
{
    struct rig *r = *state;
    Tg__QkudListRequest qkuds = TG__QKUD_LIST_REQUEST__INIT;
    Tg__ShieldListRequest shields = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__KeyListRequest keys = TG__KEY_LIST_REQUEST__INIT;
    Tg__KekListRequest keks = TG__KEK_LIST_REQUEST__INIT;
    Tg__QkudListResponse *qkuds_listed = NULL;
    Tg__ShieldListResponse *shields_listed = NULL;
    Tg__KeyListResponse *keys_listed = NULL;
    Tg__KekListResponse *keks_listed = NULL;
    rpc_free_response(&fill_s1(r, 3)->base);
    keys.limit = 3;
    IN_DOUBT(qkuds_listed = answered(r->admin, "QkudList", &qkuds.base));
    IN_DOUBT(shields_listed = answered(r->admin, "ShieldList", &shields.base));
    IN_DOUBT(keys_listed = answered(r->admin, "KeyList", &keys.base));
    IN_DOUBT(keks_listed = answered(r->admin, "KekList", &keks.base));
    assert_int_equal(qkuds_listed->n_qkuds, 1);
    assert_int_equal(shields_listed->n_shields, 1);
    assert_int_equal(keys_listed->n_keys, 3);
    assert_false(keys_listed->more);
    assert_int_equal(keks_listed->n_keks, 1);
    rpc_free_response(&qkuds_listed->base);
    rpc_free_response(&shields_listed->base);
    rpc_free_response(&keys_listed->base);
    rpc_free_response(&keks_listed->base);
}

#define DOUBT_TEST(f)                                                                                        \
    {                                                                                                        \
        cmocka_unit_test_setup_teardown(f, open_doubtful, rig_close), ON_DISK                                \
    }

int main(void)
{
    const struct backend_test tests[] = {
        DOUBT_TEST(a_qkud_added_in_doubt_is_added_once),
        DOUBT_TEST(a_shield_added_in_doubt_is_added_once),
        DOUBT_TEST(keys_made_confirmed_and_spent_in_doubt_are_so_once),
        DOUBT_TEST(what_is_revoked_in_doubt_is_revoked),
        DOUBT_TEST(lists_read_in_doubt_are_read_once),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
