/* Shields are filled for users who logged in, and with whole fills only. */
#include "rig.h"

static void a_fill_is_bounded(void **state)
{
    struct rig *r = *state;
    char user[NAME_TEXT_MAX + 2] = "";
    uint8_t longer[PASSWORD_MAX + 1] = {0};
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 0);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "1 to 1000 keys");
    fill.count = FILL_MAX + 1;
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "1 to 1000 keys");
    fill.count = UINT32_MAX;
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "1 to 1000 keys");
    fill.count = 1;
    fill.password = pb_bytes(NULL, 0);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "password");
    fill.password = pb_bytes(longer, sizeof longer);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "password");
    fill = fill_request("s1", "", 1);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "user");
    memset(user, 'x', NAME_TEXT_MAX + 1);
    fill = fill_request("s1", user, 1);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "user");
    fill = fill_request("s1", "a\nb", 1);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "user");
    fill = fill_request("s/1", "alice", 1);
    refused(r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "shield id");
    assert_int_equal(r->bridge.logins, 0);
}

static void only_the_charger_fills(void **state)
{
    struct rig *r = *state;
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 1);
    refused(r->resolver, "Fill", &fill.base, TG_PERMISSION_DENIED, "");
    refused(r->admin, "Fill", &fill.base, TG_PERMISSION_DENIED, "");
}

static void check_shield(struct rig *r, unsigned made, unsigned ready)
{
    Tg__ShieldListRequest list = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__ShieldListResponse *shields = answered(r->admin, "ShieldList", &list.base);
    assert_int_equal(shields->n_shields, 1);
    assert_int_equal(shields->shields[0]->made, made);
    assert_int_equal(shields->shields[0]->ready, ready);
    rpc_free_response(&shields->base);
}

static void a_login_that_is_not_accepted_gets_no_keys(void **state)
{
    struct rig *r = *state;
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 1);
    fill.password = pb_bytes("wrong", 5);
    refused(r->charger, "Fill", &fill.base, TG_UNAUTHENTICATED, "no such");
    struct event event = wait_event(r, "keys.refused", true);
    assert_string_equal(event.user, "alice");
    assert_string_equal(event.shield_id, "s1");
    assert_string_equal(event.peer, "charger");
    assert_null(strchr(event.reason, '\n'));

    r->bridge.mode = BRIDGE_CHALLENGES;
    fill = fill_request("s1", "alice", 1);
    refused(r->charger, "Fill", &fill.base, TG_FAILED_PRECONDITION, "token code?");
    check_shield(r, 0, 0);
}

static void without_the_bridge_nothing_is_made(void **state)
{
    struct rig *r = *state;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 1);
    r->bridge.mode = BRIDGE_FAILS;
    assert_int_equal(call_id(r->charger, "Fill", &fill.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    rpc_server_close(r->bridge.server);
    EVENTUALLY(!rpc_client_ready(r->ks->bridge));
    assert_null(key_store_not_serving(r->ks)); /* keys can be spent all the same */
    assert_int_not_equal(call_id(r->charger, "Fill", &fill.base, NULL, 1000, &response, &err), TG_OK);
    bridge_up(r);
    r->bridge.mode = BRIDGE_ASKS_PASSWORD;
    EVENTUALLY(rpc_client_ready(r->ks->bridge));
    EVENTUALLY(call_id(r->charger, "Fill", &fill.base, NULL, BUDGET_MS, &response, &err) ==
               TG_OK); /* breaker */
    rpc_free_response(response);
    done(r->charger, "Fill", &fill.base);
    check_shield(r, 2, 0);
}

static void a_shield_unknown_revoked_or_anothers_is_not_filled(void **state)
{
    struct rig *r = *state;
    Tg__FillRequest fill = fill_request("s1", "alice", 1);
    refused(r->charger, "Fill", &fill.base, TG_NOT_FOUND, "not registered");
    add_shield_of(r, "s1", "bob");
    refused(r->charger, "Fill", &fill.base, TG_PERMISSION_DENIED, "another user");
    fill = fill_request("s1", "Bob", 1);
    refused(r->charger, "Fill", &fill.base, TG_PERMISSION_DENIED, "another user");
    fill = fill_request("s1", "bob", 1);
    done(r->charger, "Fill", &fill.base);
    Tg__ShieldRevokeRequest revoke = TG__SHIELD_REVOKE_REQUEST__INIT;
    revoke.shield_id = pb_string("s1");
    done(r->admin, "ShieldRevoke", &revoke.base);
    refused(r->charger, "Fill", &fill.base, TG_FAILED_PRECONDITION, "revoked");
}

static void the_same_request_does_not_get_a_second_set(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = "the same request";
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 3);
    must(call_id(r->charger, "Fill", &fill.base, id, BUDGET_MS, &response, &err), &err);
    rpc_free_response(response);
    assert_int_equal(call_id(r->charger, "Fill", &fill.base, id, BUDGET_MS, &response, &err),
                     TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "fill again"));
    check_shield(r, 3, 0);
}

static void without_audit_no_keys_are_given_out(void **state)
{
    struct rig *r = *state;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    add_shield_of(r, "s1", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 1);
    audit_set(r, AUDIT_REFUSES);
    assert_int_equal(call_id(r->charger, "Fill", &fill.base, NULL, 4000, &response, &err), TG_ABORTED);
    audit_set(r, AUDIT_TAKES);
    wait_event(r, "keys.made", true);
    audit_down(r);
    unsigned logins = r->bridge.logins;
    assert_int_equal(call_id(r->charger, "Fill", &fill.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    assert_int_equal(r->bridge.logins, logins); /* a one-time password is not wasted on it */
    audit_up(r);
}

static void a_fill_that_broke_off_cannot_be_spent(void **state)
{
    struct rig *r = *state;
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", 2);
    Tg__FillResponse *filled = answered(r->charger, "Fill", &fill.base);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "never confirmed");
    key_store_down(r);
    key_store_up(r);
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "never confirmed");
    confirm(r, filled, "s1", 2);
    spend_ok(r, filled->entries[0]);
    rpc_free_response(&filled->base);
}

static void a_confirmation_must_fit(void **state)
{
    struct rig *r = *state;
    uint8_t other[STORE_FILL_ID_LEN] = {0};
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    add_shield_of(r, "s2", "");
    Tg__FillRequest fill = fill_request("s1", "alice", 2);
    Tg__FillResponse *filled = answered(r->charger, "Fill", &fill.base);
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    request.shield_id = pb_string("s1");
    refused(r->charger, "ConfirmFill", &request.base, TG_INVALID_ARGUMENT, "fill id");
    request.fill_id = pb_bytes(other, sizeof other);
    refused(r->charger, "ConfirmFill", &request.base, TG_NOT_FOUND, "fill");
    request.fill_id = filled->fill_id;
    request.shield_id = pb_string("s2");
    refused(r->charger, "ConfirmFill", &request.base, TG_FAILED_PRECONDITION, "another shield");
    request.shield_id = pb_string("s1");
    refused(r->resolver, "ConfirmFill", &request.base, TG_PERMISSION_DENIED, "");
    struct event event;
    assert_false(find_event(r, "keys.ready", false, &event));

    confirm(r, filled, "s1", 2);
    assert_true(find_event(r, "keys.ready", false, &event));
    assert_string_equal(event.shield_id, "s1");
    spend_ok(r, filled->entries[0]);
    confirm(r, filled, "s1", 2); /* the answer was lost: the same again, and nothing comes back to life */
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
    rpc_free_response(&filled->base);
}

static void a_confirmation_that_comes_too_late_is_refused(void **state)
{
    struct rig *r = *state;
    add_qkud_q1(r);
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", 2);
    Tg__FillResponse *filled = answered(r->charger, "Fill", &fill.base);
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    request.fill_id = filled->fill_id;
    request.shield_id = pb_string("s1");
    rig_time_s += FILL_CONFIRM_WINDOW_S;
    refused(r->charger, "ConfirmFill", &request.base, TG_FAILED_PRECONDITION, "in time");
    rpc_free_response(&filled->base);
}

static void a_revoked_shields_fill_is_not_confirmed(void **state)
{
    struct rig *r = *state;
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", 2);
    Tg__FillResponse *filled = answered(r->charger, "Fill", &fill.base);
    Tg__ShieldRevokeRequest revoke = TG__SHIELD_REVOKE_REQUEST__INIT;
    revoke.shield_id = pb_string("s1");
    Tg__ShieldRevokeResponse *revoked = answered(r->admin, "ShieldRevoke", &revoke.base);
    assert_int_equal(revoked->keys_revoked, 2);
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    request.fill_id = filled->fill_id;
    request.shield_id = pb_string("s1");
    refused(r->charger, "ConfirmFill", &request.base, TG_FAILED_PRECONDITION, "revoked");
    rpc_free_response(&revoked->base);
    rpc_free_response(&filled->base);
}

static void the_largest_fill_has_a_thousand_different_good_tickets(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, FILL_MAX);
    for (size_t i = 0; i < FILL_MAX; i++) {
        const Tg__FillEntry *entry = filled->entries[i];
        struct ticket ticket;
        struct tg_error err;
        assert_int_equal(entry->key.len, 32);
        must(ticket_decode(entry->ticket.data, entry->ticket.len, r->ks->ticket_key, rig_time_s, &ticket,
                           &err),
             &err);
        assert_int_equal(ticket.expires_s, 1000000 + 100000);
        assert_memory_equal(ticket.centre, "CENTRE01", TICKET_CENTRE_LEN);
        if (i > 0) {
            assert_memory_not_equal(entry->key.data, filled->entries[i - 1]->key.data, 32);
            assert_memory_not_equal(entry->ticket.data, filled->entries[i - 1]->ticket.data, TICKET_LEN);
        }
    }
    struct event event = wait_event(r, "keys.made", false);
    assert_string_equal(event.detail, "1000 keys from drbg");
    check_shield(r, 0, FILL_MAX);
    spend_ok(r, filled->entries[FILL_MAX - 1]);
    rpc_free_response(&filled->base);
}

int main(void)
{
    const struct backend_test tests[] = {
        RIG_TEST_ON(a_fill_is_bounded, ON_DISK),
        RIG_TEST_ON(only_the_charger_fills, ON_DISK),
        RIG_TEST_ON(a_login_that_is_not_accepted_gets_no_keys, ON_DISK),
        RIG_TEST_ON(without_the_bridge_nothing_is_made, ON_DISK),
        RIG_TEST_ON(a_shield_unknown_revoked_or_anothers_is_not_filled, ON_DISK),
        RIG_TEST_ON(the_same_request_does_not_get_a_second_set, ON_DISK),
        RIG_TEST_ON(without_audit_no_keys_are_given_out, ON_DISK),
        RIG_TEST_ON(a_fill_that_broke_off_cannot_be_spent, ON_DISK),
        RIG_TEST_ON(a_confirmation_must_fit, ON_DISK),
        RIG_TEST_ON(a_confirmation_that_comes_too_late_is_refused, ON_DISK),
        RIG_TEST_ON(a_revoked_shields_fill_is_not_confirmed, ON_DISK),
        RIG_TEST_ON(the_largest_fill_has_a_thousand_different_good_tickets, ON_DISK),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
