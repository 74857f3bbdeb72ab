/* What operators add, list and revoke. */
#include "rig.h"

static void names_are_checked_before_they_are_kept(void **state)
{
    struct rig *r = *state;
    static const char *const bad[] = {"", "a b", "a/b", "\xc3\xa4", "a\n"};
    char longer[NAME_TEXT_MAX + 2] = "";
    memset(longer, 'x', NAME_TEXT_MAX + 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Tg__QkudAddRequest qkud = TG__QKUD_ADD_REQUEST__INIT;
        Tg__ShieldAddRequest shield = TG__SHIELD_ADD_REQUEST__INIT;
        qkud.qkud_id = pb_string(bad[i]);
        shield.shield_id = pb_string(bad[i]);
        refused(r->admin, "QkudAdd", &qkud.base, TG_INVALID_ARGUMENT, "QKUD id");
        refused(r->admin, "ShieldAdd", &shield.base, TG_INVALID_ARGUMENT, "shield id");
    }
    Tg__QkudAddRequest qkud = TG__QKUD_ADD_REQUEST__INIT;
    qkud.qkud_id = longer;
    refused(r->admin, "QkudAdd", &qkud.base, TG_INVALID_ARGUMENT, "64 characters");
    qkud.qkud_id = pb_string("q");
    qkud.description = longer;
    refused(r->admin, "QkudAdd", &qkud.base, TG_INVALID_ARGUMENT, "description");
    Tg__ShieldAddRequest shield = TG__SHIELD_ADD_REQUEST__INIT;
    shield.shield_id = pb_string("s");
    shield.owner = longer;
    refused(r->admin, "ShieldAdd", &shield.base, TG_INVALID_ARGUMENT, "owner");
    shield.owner = pb_string("");
    shield.policy = longer;
    refused(r->admin, "ShieldAdd", &shield.base, TG_INVALID_ARGUMENT, "policy");
}

static void operators_methods_are_theirs_alone(void **state)
{
    struct rig *r = *state;
    Tg__QkudAddRequest add = TG__QKUD_ADD_REQUEST__INIT;
    Tg__KeyListRequest list = TG__KEY_LIST_REQUEST__INIT;
    add.qkud_id = pb_string("q1");
    refused(r->resolver, "QkudAdd", &add.base, TG_PERMISSION_DENIED, "");
    refused(r->charger, "QkudAdd", &add.base, TG_PERMISSION_DENIED, "");
    refused(r->resolver, "KeyList", &list.base, TG_PERMISSION_DENIED, "");
}

static void what_does_not_exist_cannot_be_revoked(void **state)
{
    struct rig *r = *state;
    uint8_t id[TICKET_KEY_ID_LEN] = {0};
    Tg__QkudRevokeRequest qkud = TG__QKUD_REVOKE_REQUEST__INIT;
    Tg__ShieldRevokeRequest shield = TG__SHIELD_REVOKE_REQUEST__INIT;
    Tg__KeyRevokeRequest key = TG__KEY_REVOKE_REQUEST__INIT;
    qkud.qkud_id = pb_string("q1");
    refused(r->admin, "QkudRevoke", &qkud.base, TG_NOT_FOUND, "q1");
    shield.shield_id = pb_string("s1");
    refused(r->admin, "ShieldRevoke", &shield.base, TG_NOT_FOUND, "s1");
    refused(r->admin, "KeyRevoke", &key.base, TG_INVALID_ARGUMENT, "either");
    key.key_id = pb_bytes(id, 15);
    refused(r->admin, "KeyRevoke", &key.base, TG_INVALID_ARGUMENT, "16 bytes");
    key.key_id = pb_bytes(id, 16);
    refused(r->admin, "KeyRevoke", &key.base, TG_NOT_FOUND, "no such key");
    key.ticket = pb_bytes(id, 16);
    refused(r->admin, "KeyRevoke", &key.base, TG_INVALID_ARGUMENT, "either");
    key.key_id = pb_bytes(NULL, 0);
    refused(r->admin, "KeyRevoke", &key.base, TG_INVALID_ARGUMENT, "bytes");
}

static void an_id_is_given_once_even_after_revoking(void **state)
{
    struct rig *r = *state;
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    Tg__QkudAddRequest qkud = TG__QKUD_ADD_REQUEST__INIT;
    Tg__ShieldAddRequest shield = TG__SHIELD_ADD_REQUEST__INIT;
    qkud.qkud_id = pb_string("q1");
    shield.shield_id = pb_string("s1");
    refused(r->admin, "QkudAdd", &qkud.base, TG_ALREADY_EXISTS, "q1");
    refused(r->admin, "ShieldAdd", &shield.base, TG_ALREADY_EXISTS, "s1");
    Tg__QkudRevokeRequest revoke = TG__QKUD_REVOKE_REQUEST__INIT;
    revoke.qkud_id = pb_string("q1");
    done(r->admin, "QkudRevoke", &revoke.base);
    done(r->admin, "QkudRevoke", &revoke.base); /* again: harmless */
    refused(r->admin, "QkudAdd", &qkud.base, TG_ALREADY_EXISTS, "q1");
}

static size_t count_in_state(struct rig *r, const char *state)
{
    Tg__KeyListRequest list = TG__KEY_LIST_REQUEST__INIT;
    list.state = pb_string(state);
    Tg__KeyListResponse *page = answered(r->admin, "KeyList", &list.base);
    size_t count = page->n_keys;
    rpc_free_response(&page->base);
    return count;
}

static void spent_and_expired_keys_cannot_be_revoked(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    Tg__KeyRevokeRequest revoke = TG__KEY_REVOKE_REQUEST__INIT;
    spend_ok(r, filled->entries[0]);
    revoke.ticket = filled->entries[0]->ticket;
    refused(r->admin, "KeyRevoke", &revoke.base, TG_FAILED_PRECONDITION, "it is spent");
    rig_time_s += 100000;
    EVENTUALLY(count_in_state(r, "expired") == 1);
    revoke.ticket = filled->entries[1]->ticket;
    refused(r->admin, "KeyRevoke", &revoke.base, TG_FAILED_PRECONDITION, "it is expired");
    rpc_free_response(&filled->base);
}

static void a_change_that_cannot_be_audited_is_not_made(void **state)
{
    struct rig *r = *state;
    struct tg_error err;
    ProtobufCMessage *response = NULL;
    Tg__ShieldAddRequest shield = TG__SHIELD_ADD_REQUEST__INIT;
    shield.shield_id = pb_string("s1");
    audit_down(r);
    assert_int_equal(call_id(r->admin, "ShieldAdd", &shield.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    audit_up(r);
    EVENTUALLY(key_store_not_serving(r->ks) == NULL);
    done(r->admin, "ShieldAdd", &shield.base);
}

static void changes_are_audited(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    struct ticket ticket;
    must(ticket_peek(filled->entries[0]->ticket.data, TICKET_LEN, &ticket, NULL), &(struct tg_error){0});
    Tg__KeyRevokeRequest key = TG__KEY_REVOKE_REQUEST__INIT;
    key.key_id = pb_bytes(ticket.key_id, sizeof ticket.key_id);
    done(r->admin, "KeyRevoke", &key.base);
    Tg__ShieldRevokeRequest shield = TG__SHIELD_REVOKE_REQUEST__INIT;
    shield.shield_id = pb_string("s1");
    done(r->admin, "ShieldRevoke", &shield.base);
    Tg__QkudRevokeRequest qkud = TG__QKUD_REVOKE_REQUEST__INIT;
    qkud.qkud_id = pb_string("q1");
    done(r->admin, "QkudRevoke", &qkud.base);

    static const struct {
        const char *event, *qkud, *shield, *user;
    } expected[] = {{"qkud.added", "q1", "", ""},
                    {"shield.added", "", "s1", "alice"},
                    {"key.revoked", "", "s1", ""},
                    {"shield.revoked", "", "s1", ""},
                    {"qkud.revoked", "q1", "", ""}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct event event;
        if (!find_event(r, expected[i].event, false, &event))
            fail_msg("%s is missing", expected[i].event);
        assert_string_equal(event.qkud_id, expected[i].qkud);
        assert_string_equal(event.shield_id, expected[i].shield);
        assert_string_equal(event.user, expected[i].user);
        assert_string_equal(event.peer, "operator");
    }
    struct event event;
    assert_true(find_event(r, "shield.revoked", false, &event));
    assert_string_equal(event.detail, "1 keys");
    rpc_free_response(&filled->base);
}

/* ---- lists ---- */

static void lists_are_bounded_and_their_filters_checked(void **state)
{
    struct rig *r = *state;
    uint8_t id[TICKET_KEY_ID_LEN] = {0};
    Tg__KeyListRequest keys = TG__KEY_LIST_REQUEST__INIT;
    Tg__ShieldListRequest shields = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__QkudListRequest qkuds = TG__QKUD_LIST_REQUEST__INIT;
    keys.limit = shields.limit = qkuds.limit = STORE_LIST_MAX + 1;
    refused(r->admin, "KeyList", &keys.base, TG_INVALID_ARGUMENT, "at most 500");
    refused(r->admin, "ShieldList", &shields.base, TG_INVALID_ARGUMENT, "at most 500");
    refused(r->admin, "QkudList", &qkuds.base, TG_INVALID_ARGUMENT, "at most 500");
    keys.limit = shields.limit = qkuds.limit = 0;
    keys.state = pb_string("lost");
    refused(r->admin, "KeyList", &keys.base, TG_INVALID_ARGUMENT, "state");
    keys.state = pb_string("");
    keys.after_key_id = pb_bytes(id, 3);
    refused(r->admin, "KeyList", &keys.base, TG_INVALID_ARGUMENT, "16 bytes");
    keys.after_key_id = pb_bytes(id, 16);
    refused(r->admin, "KeyList", &keys.base, TG_NOT_FOUND, "no such key");
    shields.after_shield_id = pb_string("a b");
    refused(r->admin, "ShieldList", &shields.base, TG_INVALID_ARGUMENT, "shield id");
    qkuds.after_qkud_id = pb_string("a b");
    refused(r->admin, "QkudList", &qkuds.base, TG_INVALID_ARGUMENT, "QKUD id");
}

static void keys_are_listed_page_by_page(void **state)
{
    struct rig *r = *state;
    enum { COUNT = 25 };
    Tg__FillResponse *filled = fill_s1(r, COUNT);
    spend_ok(r, filled->entries[3]);
    Tg__KeyListRequest list = TG__KEY_LIST_REQUEST__INIT;
    uint8_t after[TICKET_KEY_ID_LEN];
    size_t seen = 0;
    bool more = true;
    list.limit = 10;
    while (more) {
        Tg__KeyListResponse *page = answered(r->admin, "KeyList", &list.base);
        assert_true(page->n_keys <= 10);
        for (size_t i = 0; i < page->n_keys; i++, seen++) {
            struct ticket ticket;
            must(ticket_peek(filled->entries[seen]->ticket.data, TICKET_LEN, &ticket, NULL),
                 &(struct tg_error){0});
            assert_memory_equal(page->keys[i]->key_id.data, ticket.key_id, TICKET_KEY_ID_LEN);
            assert_string_equal(page->keys[i]->state, seen == 3 ? "spent" : "ready");
            assert_string_equal(page->keys[i]->spent_by, seen == 3 ? "q1" : "");
            assert_int_equal(page->keys[i]->expires_s, ticket.expires_s);
        }
        memcpy(after, page->keys[page->n_keys - 1]->key_id.data, sizeof after);
        list.after_key_id = pb_bytes(after, sizeof after);
        more = page->more;
        rpc_free_response(&page->base);
    }
    assert_int_equal(seen, COUNT);

    Tg__KeyListRequest spent = TG__KEY_LIST_REQUEST__INIT;
    spent.state = pb_string("spent");
    spent.shield_id = pb_string("s1");
    Tg__KeyListResponse *page = answered(r->admin, "KeyList", &spent.base);
    assert_int_equal(page->n_keys, 1);
    assert_false(page->more);
    rpc_free_response(&page->base);

    Tg__KeyListRequest exactly = TG__KEY_LIST_REQUEST__INIT;
    exactly.limit = COUNT;
    page = answered(r->admin, "KeyList", &exactly.base);
    assert_int_equal(page->n_keys, COUNT);
    assert_false(page->more);
    rpc_free_response(&page->base);
    rpc_free_response(&filled->base);
}

static void the_longest_page_of_the_longest_names_fits_a_message(void **state)
{
    struct rig *r = *state;
    char text[NAME_TEXT_MAX + 1] = "";
    memset(text, 'x', NAME_TEXT_MAX);
    for (int i = 0; i < STORE_LIST_MAX + 1; i++) {
        char id[NAME_ID_MAX + 1];
        snprintf(id, sizeof id, "%064d", i);
        Tg__ShieldAddRequest shield = TG__SHIELD_ADD_REQUEST__INIT;
        shield.shield_id = id;
        shield.owner = text;
        shield.policy = text;
        if (i % 100 == 0)
            forget_events(r);
        done(r->admin, "ShieldAdd", &shield.base);
    }
    Tg__ShieldListRequest list = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__ShieldListResponse *page = answered(r->admin, "ShieldList", &list.base);
    assert_int_equal(page->n_shields, STORE_LIST_MAX);
    assert_true(page->more);
    char last[NAME_ID_MAX + 1];
    snprintf(last, sizeof last, "%s", page->shields[STORE_LIST_MAX - 1]->shield_id);
    rpc_free_response(&page->base);
    list.after_shield_id = last;
    page = answered(r->admin, "ShieldList", &list.base);
    assert_int_equal(page->n_shields, 1);
    assert_false(page->more);
    assert_string_equal(page->shields[0]->owner, text);
    rpc_free_response(&page->base);
}

static void qkuds_are_listed_without_their_keys(void **state)
{
    struct rig *r = *state;
    add_qkud_q1(r);
    Tg__QkudListRequest list = TG__QKUD_LIST_REQUEST__INIT;
    Tg__QkudListResponse *page = answered(r->admin, "QkudList", &list.base);
    assert_int_equal(page->n_qkuds, 1);
    assert_string_equal(page->qkuds[0]->qkud_id, "q1");
    assert_int_equal(page->qkuds[0]->created_s, rig_time_s);
    assert_false(page->qkuds[0]->revoked);
    rpc_free_response(&page->base);
}

int main(void)
{
    const struct backend_test tests[] = {
        RIG_TEST_ON(names_are_checked_before_they_are_kept, ON_DISK),
        RIG_TEST_ON(operators_methods_are_theirs_alone, ON_DISK),
        RIG_TEST_ON(what_does_not_exist_cannot_be_revoked, ON_DISK),
        RIG_TEST_ON(an_id_is_given_once_even_after_revoking, ON_DISK),
        RIG_TEST_ON(spent_and_expired_keys_cannot_be_revoked, ON_DISK),
        RIG_TEST_ON(a_change_that_cannot_be_audited_is_not_made, ON_DISK),
        RIG_TEST_ON(changes_are_audited, ON_DISK),
        RIG_TEST_ON(lists_are_bounded_and_their_filters_checked, ON_DISK),
        RIG_TEST_ON(keys_are_listed_page_by_page, ON_DISK),
        RIG_TEST_ON(the_longest_page_of_the_longest_names_fits_a_message, ON_DISK),
        RIG_TEST_ON(qkuds_are_listed_without_their_keys, ON_DISK),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
