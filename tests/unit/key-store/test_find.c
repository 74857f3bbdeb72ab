/* One key found by its id or its ticket, and lists of those that were asked for. */
#include "rig.h"

static Tg__KeyFindRequest by_ticket(const Tg__FillEntry *entry)
{
    Tg__KeyFindRequest request = TG__KEY_FIND_REQUEST__INIT;
    request.ticket = entry->ticket;
    return request;
}

static void a_key_is_named_in_one_way(void **state)
{
    struct rig *r = *state;
    uint8_t id[TICKET_KEY_ID_LEN] = {1};
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__KeyFindRequest request = TG__KEY_FIND_REQUEST__INIT;
    refused(r->admin, "KeyFind", &request.base, TG_INVALID_ARGUMENT, "either");
    request.key_id = pb_bytes(id, 15);
    refused(r->admin, "KeyFind", &request.base, TG_INVALID_ARGUMENT, "16 bytes");
    request.key_id = pb_bytes(id, sizeof id);
    refused(r->admin, "KeyFind", &request.base, TG_NOT_FOUND, "no such key");
    request.ticket = filled->entries[0]->ticket;
    refused(r->admin, "KeyFind", &request.base, TG_INVALID_ARGUMENT, "either");
    request = by_ticket(filled->entries[0]);
    request.ticket.len--;
    refused(r->admin, "KeyFind", &request.base, TG_INVALID_ARGUMENT, "");
    request.ticket.len++;
    refused(r->resolver, "KeyFind", &request.base, TG_PERMISSION_DENIED, "");
    refused(r->charger, "KeyFind", &request.base, TG_PERMISSION_DENIED, "");
    rpc_free_response(&filled->base);
}

static void a_ticket_tells_what_became_of_its_key(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    Tg__KeyFindRequest request = by_ticket(filled->entries[0]);
    Tg__KeyFindResponse *found = answered(r->admin, "KeyFind", &request.base);
    assert_string_equal(found->key->state, "ready");
    assert_string_equal(found->key->shield_id, "s1");
    assert_string_equal(found->owner, "alice");
    assert_string_equal(found->policy, "ops");
    assert_false(found->shield_revoked);
    assert_int_equal(found->key->expires_s, rig_clock() + 100000);
    rpc_free_response(&found->base);

    spend_ok(r, filled->entries[0]);
    rig_time_s = rig_time_s + 5000;
    found = answered(r->admin, "KeyFind", &request.base);
    assert_string_equal(found->key->state, "spent");
    assert_string_equal(found->key->spent_by, "q1");
    Tg__KeyFindRequest by_id = TG__KEY_FIND_REQUEST__INIT;
    by_id.key_id = found->key->key_id;
    Tg__KeyFindResponse *same = answered(r->admin, "KeyFind", &by_id.base);
    assert_string_equal(same->key->state, "spent");
    rpc_free_response(&same->base);
    rpc_free_response(&found->base);

    Tg__ShieldRevokeRequest revoke = TG__SHIELD_REVOKE_REQUEST__INIT;
    revoke.shield_id = pb_string("s1");
    done(r->admin, "ShieldRevoke", &revoke.base);
    request = by_ticket(filled->entries[1]);
    found = answered(r->admin, "KeyFind", &request.base);
    assert_string_equal(found->key->state, "revoked");
    assert_true(found->shield_revoked);
    rpc_free_response(&found->base);
    rpc_free_response(&filled->base);
}

static size_t listed(struct rig *r, const char *owner, uint64_t expires_before_s)
{
    Tg__KeyListRequest request = TG__KEY_LIST_REQUEST__INIT;
    request.owner = pb_string(owner);
    request.expires_before_s = expires_before_s;
    Tg__KeyListResponse *list = answered(r->admin, "KeyList", &request.base);
    size_t count = list->n_keys;
    rpc_free_response(&list->base);
    return count;
}

static void keys_are_listed_by_owner_and_expiry(void **state)
{
    struct rig *r = *state;
    uint64_t first_s = rig_clock() + 100000;
    rpc_free_response(&fill_s1(r, 3)->base);
    add_shield_of(r, "s2", "bob");
    rig_time_s = rig_time_s + 1000;
    Tg__FillRequest fill = fill_request("s2", "bob", 2);
    done(r->charger, "Fill", &fill.base);
    assert_int_equal(listed(r, "", 0), 5);
    assert_int_equal(listed(r, "alice", 0), 3);
    assert_int_equal(listed(r, "bob", 0), 2);
    assert_int_equal(listed(r, "ali", 0), 0);
    assert_int_equal(listed(r, "", first_s), 0);
    assert_int_equal(listed(r, "", first_s + 1), 3);
    assert_int_equal(listed(r, "bob", first_s + 1), 0);
    assert_int_equal(listed(r, "bob", first_s + 1001), 2);
    Tg__KeyListRequest request = TG__KEY_LIST_REQUEST__INIT;
    request.owner = pb_string("a\nb");
    refused(r->admin, "KeyList", &request.base, TG_INVALID_ARGUMENT, "owner");
    request.owner = pb_string("");
    request.expires_before_s = UINT64_MAX;
    refused(r->admin, "KeyList", &request.base, TG_INVALID_ARGUMENT, "bounds");
}

int main(void)
{
    const struct backend_test tests[] = {
        RIG_TEST_ON(a_key_is_named_in_one_way, ON_FILE),
        RIG_TEST_ON(a_ticket_tells_what_became_of_its_key, ON_DISK),
        RIG_TEST_ON(keys_are_listed_by_owner_and_expiry, ON_DISK),
    };
    quiet();
    return backends_run(tests, sizeof tests / sizeof *tests);
}
