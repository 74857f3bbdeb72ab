/* A key is spent once, by whoever may, and never without the audit log. */
#include "rig.h"

#include <signal.h>
#include <sys/resource.h>

/* A ticket with a good MAC, for whatever it says. */
static void forge_ticket(const struct rig *r, const struct ticket *ticket, uint8_t out[TICKET_LEN])
{
    ticket_encode(ticket, r->ks->ticket_key, out);
}

static void malformed_and_forged_tickets_are_refused(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    uint8_t bytes[TICKET_LEN + 1] = {0};
    memcpy(bytes, spend.ticket.data, TICKET_LEN);

    spend.ticket = pb_bytes(NULL, 0);
    refused(r->resolver, "Spend", &spend.base, TG_INVALID_ARGUMENT, "bytes");
    spend.ticket = pb_bytes(bytes, TICKET_LEN + 1);
    refused(r->resolver, "Spend", &spend.base, TG_INVALID_ARGUMENT, "bytes");
    for (size_t i = 1; i < TICKET_LEN; i += 16) {
        bytes[i] ^= 1;
        spend.ticket = pb_bytes(bytes, TICKET_LEN);
        refused(r->resolver, "Spend", &spend.base, TG_UNAUTHENTICATED, "");
        bytes[i] ^= 1;
    }
    struct event event = wait_event(r, "key.refused", true);
    assert_string_equal(event.qkud_id, "q1");
    assert_string_equal(event.source, "192.0.2.1:4711");
    assert_string_equal(event.peer, "resolver");
    assert_int_equal(count_events(r, "key.spent"), 0);
    spend_ok(r, filled->entries[0]);
    rpc_free_response(&filled->base);
}

static void unknown_expired_and_foreign_tickets_are_refused(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    uint8_t bytes[TICKET_LEN];
    struct ticket ticket = {.centre = "CENTRE01", .expires_s = rig_time_s + 1};
    ticket_new_key_id(ticket.key_id);
    spend.ticket = pb_bytes(bytes, TICKET_LEN);

    forge_ticket(r, &ticket, bytes);
    refused(r->resolver, "Spend", &spend.base, TG_NOT_FOUND, "names no key");
    must(ticket_peek(filled->entries[0]->ticket.data, TICKET_LEN, &ticket, NULL), &(struct tg_error){0});
    memcpy(ticket.centre, "CENTRE02", TICKET_CENTRE_LEN);
    forge_ticket(r, &ticket, bytes);
    refused(r->resolver, "Spend", &spend.base, TG_UNAUTHENTICATED, "another centre");
    memcpy(ticket.centre, "CENTRE01", TICKET_CENTRE_LEN);

    rig_time_s = ticket.expires_s;
    spend.ticket = filled->entries[0]->ticket;
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "expired");
    ticket.expires_s += 1000; /* what the ticket says does not matter when the database knows better */
    forge_ticket(r, &ticket, bytes);
    spend.ticket = pb_bytes(bytes, TICKET_LEN);
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "expired");
    assert_int_equal(count_events(r, "key.spent"), 0);
    rpc_free_response(&filled->base);
}

static void gateways_unknown_revoked_or_misnamed_are_refused(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    char source[NAME_TEXT_MAX + 2] = "";
    memset(source, 'x', NAME_TEXT_MAX + 1);

    spend.qkud_id = pb_string("");
    refused(r->resolver, "Spend", &spend.base, TG_INVALID_ARGUMENT, "QKUD id");
    spend.qkud_id = pb_string("../q1");
    refused(r->resolver, "Spend", &spend.base, TG_INVALID_ARGUMENT, "QKUD id");
    spend.qkud_id = pb_string("q2");
    refused(r->resolver, "Spend", &spend.base, TG_PERMISSION_DENIED, "not registered");
    spend.qkud_id = pb_string("q1");
    spend.source = source;
    refused(r->resolver, "Spend", &spend.base, TG_INVALID_ARGUMENT, "source");
    spend.source = pb_string("");

    Tg__QkudRevokeRequest revoke = TG__QKUD_REVOKE_REQUEST__INIT;
    revoke.qkud_id = pb_string("q1");
    done(r->admin, "QkudRevoke", &revoke.base);
    refused(r->resolver, "Spend", &spend.base, TG_PERMISSION_DENIED, "revoked");
    rpc_free_response(&filled->base);
}

static void only_the_resolver_spends(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    refused(r->admin, "Spend", &spend.base, TG_PERMISSION_DENIED, "");
    refused(r->charger, "Spend", &spend.base, TG_PERMISSION_DENIED, "");
    spend_ok(r, filled->entries[0]);
    rpc_free_response(&filled->base);
}

static void revoked_keys_and_shields_are_refused(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    Tg__SpendRequest one = spend_request(filled->entries[0]);
    Tg__SpendRequest two = spend_request(filled->entries[1]);
    Tg__KeyRevokeRequest revoke = TG__KEY_REVOKE_REQUEST__INIT;
    revoke.ticket = one.ticket;
    done(r->admin, "KeyRevoke", &revoke.base);
    refused(r->resolver, "Spend", &one.base, TG_FAILED_PRECONDITION, "revoked");
    Tg__ShieldRevokeRequest shield = TG__SHIELD_REVOKE_REQUEST__INIT;
    shield.shield_id = pb_string("s1");
    done(r->admin, "ShieldRevoke", &shield.base);
    refused(r->resolver, "Spend", &two.base, TG_FAILED_PRECONDITION, "revoked");
    assert_int_equal(count_events(r, "key.spent"), 0);
    rpc_free_response(&filled->base);
}

static void a_spent_ticket_is_refused_and_auditors_learn_why(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    spend_ok(r, filled->entries[0]);
    struct event event = wait_event(r, "key.spent", false);
    assert_string_equal(event.shield_id, "s1");
    assert_int_equal(event.ticket_len, TICKET_LEN);
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
    event = wait_event(r, "key.refused", true);
    assert_non_null(strstr(event.reason, "spent"));
    assert_string_equal(event.shield_id, "s1");
    rpc_free_response(&filled->base);
}

static enum tg_code spend_as(struct rig *r, const Tg__SpendRequest *spend, const uint8_t *id,
                             ProtobufCMessage **response, struct tg_error *err)
{
    return call_id(r->resolver, "Spend", &spend->base, id, BUDGET_MS, response, err);
}

static void the_same_request_gets_the_same_answer_within_the_window_only(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = "the same request";
    ProtobufCMessage *first = NULL;
    ProtobufCMessage *again = NULL;
    struct tg_error err;
    Tg__FillResponse *filled = fill_s1(r, 2);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    must(spend_as(r, &spend, id, &first, &err), &err);
    rig_time_s += 60;
    must(spend_as(r, &spend, id, &again, &err), &err);
    const ProtobufCBinaryData *a = &((Tg__SpendResponse *)first)->ticket_info;
    const ProtobufCBinaryData *b = &((Tg__SpendResponse *)again)->ticket_info;
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
    check_answer(r, again, filled->entries[0], id);
    assert_int_equal(count_events(r, "key.spent"), 2); /* audited before each answer */
    rpc_free_response(first);
    rpc_free_response(again);

    rig_time_s += 1;
    assert_int_equal(spend_as(r, &spend, id, &again, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "not kept"));

    /* one request id is no ticket for another key */
    Tg__SpendRequest other = spend_request(filled->entries[1]);
    must(spend_as(r, &other, id, &again, &err), &err);
    check_answer(r, again, filled->entries[1], id);
    rpc_free_response(again);
    rpc_free_response(&filled->base);
}

static void a_revoked_shields_lost_answer_is_lost(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = "the same request";
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    must(spend_as(r, &spend, id, &response, &err), &err);
    rpc_free_response(response);
    Tg__ShieldRevokeRequest revoke = TG__SHIELD_REVOKE_REQUEST__INIT;
    revoke.shield_id = pb_string("s1");
    done(r->admin, "ShieldRevoke", &revoke.base);
    assert_int_equal(spend_as(r, &spend, id, &response, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "shield s1 is revoked"));
    rpc_free_response(&filled->base);
}

static void another_gateway_does_not_get_the_answer(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = "the same request";
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    must(spend_as(r, &spend, id, &response, &err), &err);
    rpc_free_response(response);
    Tg__QkudAddRequest add = TG__QKUD_ADD_REQUEST__INIT;
    add.qkud_id = pb_string("q2");
    done(r->admin, "QkudAdd", &add.base);
    spend.qkud_id = pb_string("q2");
    assert_int_equal(spend_as(r, &spend, id, &response, &err), TG_FAILED_PRECONDITION);
    rpc_free_response(&filled->base);
}

/* ---- races ---- */

enum { RACERS = 32 };

struct race {
    pthread_mutex_t lock;
    pthread_cond_t over;
    unsigned won, lost, other;
};

static void racer_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct race *race = arg;
    (void)text;
    (void)response;
    pthread_mutex_lock(&race->lock);
    race->won += status == TG_OK;
    race->lost += status == TG_FAILED_PRECONDITION;
    race->other += status != TG_OK && status != TG_FAILED_PRECONDITION;
    pthread_cond_signal(&race->over);
    pthread_mutex_unlock(&race->lock);
}

static void of_32_racing_for_one_ticket_one_wins(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 4);
    for (size_t i = 0; i < filled->n_entries; i++) {
        struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
        Tg__SpendRequest spend = spend_request(filled->entries[i]);
        const struct rpc_request request = {.service = &tg__key_store__descriptor,
                                            .method = "Spend",
                                            .message = &spend.base,
                                            .budget_ms = BUDGET_MS};
        for (int n = 0; n < RACERS; n++)
            rpc_start(r->resolver, &request, racer_done, &race);
        pthread_mutex_lock(&race.lock);
        while (race.won + race.lost + race.other < RACERS)
            pthread_cond_wait(&race.over, &race.lock);
        pthread_mutex_unlock(&race.lock);
        assert_int_equal(race.won, 1);
        assert_int_equal(race.lost, RACERS - 1);
    }
    EVENTUALLY(count_events(r, "key.refused") == filled->n_entries * (RACERS - 1));
    assert_int_equal(count_events(r, "key.spent"), filled->n_entries);
    rpc_free_response(&filled->base);
}

/* ---- the audit log ---- */

static void without_audit_nothing_is_done(void **state)
{
    struct rig *r = *state;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    audit_down(r);
    assert_string_equal(key_store_not_serving(r->ks), "the audit service cannot be reached");
    assert_int_equal(call_id(r->resolver, "Spend", &spend.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    audit_up(r);
    EVENTUALLY(key_store_not_serving(r->ks) == NULL);
    spend_ok(r, filled->entries[0]); /* the ticket is as good as before */
    rpc_free_response(&filled->base);
}

static void no_key_leaves_when_the_audit_log_refuses(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = "the same request";
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    struct event event;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    audit_set(r, AUDIT_REFUSES);
    assert_int_equal(call_id(r->resolver, "Spend", &spend.base, id, 60000, &response, &err), TG_ABORTED);
    assert_null(response);
    assert_non_null(strstr(err.text, "not in the audit log within 1500 ms: "));
    assert_false(find_event(r, "key.spent", false, &event));
    audit_set(r, AUDIT_TAKES);

    event = wait_event(r, "key.spent", true); /* auditors hear of it in the end */
    assert_non_null(strstr(event.reason, "withheld"));
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
    must(spend_as(r, &spend, id, &response, &err), &err); /* but its own request may ask again */
    check_answer(r, response, filled->entries[0], id);
    assert_true(find_event(r, "key.spent", false, &event));
    rpc_free_response(response);
    rpc_free_response(&filled->base);
}

static void spend_within(struct rig *r, const Tg__FillEntry *entry, uint32_t caller_ms, uint32_t most_ms)
{
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__SpendRequest spend = spend_request(entry);
    must(call_id(r->resolver, "Spend", &spend.base, NULL, caller_ms, &response, &err), &err);
    pthread_mutex_lock(&r->audit.lock);
    uint32_t budget_ms = r->audit.budget_ms;
    pthread_mutex_unlock(&r->audit.lock);
    assert_in_range(budget_ms, 1, most_ms);
    rpc_free_response(response);
}

/* Else who waits for a late audit log would run out of time first, and never hear what he waited for. And
 * however much time he has: a login is refused within two seconds. */
static void some_of_the_callers_time_is_kept_for_the_answer(void **state)
{
    struct rig *r = *state;
    Tg__FillResponse *filled = fill_s1(r, 2);
    spend_within(r, filled->entries[0], 1600, 1600 - 1600 / 8);
    spend_within(r, filled->entries[1], 60000, AUDIT_BUDGET_MS);
    rpc_free_response(&filled->base);
}

static void the_answer_waits_for_the_audit_log(void **state)
{
    struct rig *r = *state;
    struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    audit_set(r, AUDIT_HOLDS);
    rpc_start(r->resolver,
              &(struct rpc_request){.service = &tg__key_store__descriptor,
                                    .method = "Spend",
                                    .message = &spend.base,
                                    .budget_ms = BUDGET_MS},
              racer_done, &race);
    wait_event(r, "key.spent", false);

    /* others are answered meanwhile, so this one is not just slow */
    Tg__KeyListRequest list = TG__KEY_LIST_REQUEST__INIT;
    Tg__KeyListResponse *keys = answered(r->admin, "KeyList", &list.base);
    assert_string_equal(keys->keys[0]->state, "spent");
    rpc_free_response(&keys->base);
    pthread_mutex_lock(&race.lock);
    assert_int_equal(race.won + race.lost + race.other, 0);
    pthread_mutex_unlock(&race.lock);

    pthread_mutex_lock(&r->audit.lock);
    struct rpc_call *held = r->audit.held[0];
    pthread_mutex_unlock(&r->audit.lock);
    reply_appended(held);
    pthread_mutex_lock(&race.lock);
    while (race.won + race.lost + race.other == 0)
        pthread_cond_wait(&race.over, &race.lock);
    pthread_mutex_unlock(&race.lock);
    assert_int_equal(race.won, 1);
    rpc_free_response(&filled->base);
}

/* ---- the disk ---- */

static void the_quantum_key_is_on_disk_at_no_time_and_its_wrapping_only_before(void **state)
{
    struct rig *r = *state;
    enum { COUNT = 20 };
    struct store_key rows[COUNT];
    Tg__FillResponse *filled = fill_s1(r, COUNT);
    key_store_down(r); /* to look at the rows */
    struct store *store = open_store(&r->scratch);
    begin(store);
    for (int i = 0; i < COUNT; i++) {
        struct ticket ticket;
        must(ticket_peek(filled->entries[i]->ticket.data, TICKET_LEN, &ticket, NULL), &(struct tg_error){0});
        rows[i] = find_key(store, ticket.key_id);
    }
    commit(store);
    store->ops->close(store);
    assert_true(on_disk(&r->scratch, rows[0].key.wrapped, AT_REST_WRAPPED_LEN));
    key_store_up(r);
    for (int i = 0; i < COUNT; i++)
        spend_ok(r, filled->entries[i]);
    EVENTUALLY(!on_disk(&r->scratch, rows[COUNT - 1].key.wrapped, AT_REST_WRAPPED_LEN));
    for (int i = 0; i < COUNT; i++) {
        assert_false(on_disk(&r->scratch, rows[i].key.wrapped + AT_REST_SALT_LEN, 32));
        assert_false(on_disk(&r->scratch, rows[i].key.sealed, 32));
        assert_false(on_disk(&r->scratch, filled->entries[i]->key.data, 32));
    }
    assert_false(on_disk(&r->scratch, r->qkud_key, sizeof r->qkud_key));

    /* the answers, sealed to the gateway, go when their time is over */
    assert_true(on_disk(&r->scratch, filled->entries[0]->ticket.data, TICKET_LEN));
    rig_time_s += 61;
    EVENTUALLY(!on_disk(&r->scratch, filled->entries[0]->ticket.data, TICKET_LEN));
    rpc_free_response(&filled->base);
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_refuses_changes_nothing_and_is_survived(void **state)
{
    struct rig *r = *state;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    Tg__FillResponse *filled = fill_s1(r, 1);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    limit_file_size(1);
    assert_int_equal(call_id(r->resolver, "Spend", &spend.base, NULL, BUDGET_MS, &response, &err),
                     TG_UNAVAILABLE);
    assert_string_equal(key_store_not_serving(r->ks), "the key database cannot be written");
    limit_file_size(RLIM_INFINITY);
    EVENTUALLY(key_store_not_serving(r->ks) == NULL); /* without anyone calling */
    assert_int_equal(count_events(r, "key.spent"), 0);
    spend_ok(r, filled->entries[0]);
    rpc_free_response(&filled->base);
}

int main(void)
{
    const struct backend_test tests[] = {
        RIG_TEST_ON(malformed_and_forged_tickets_are_refused, ON_DISK),
        RIG_TEST_ON(unknown_expired_and_foreign_tickets_are_refused, ON_DISK),
        RIG_TEST_ON(gateways_unknown_revoked_or_misnamed_are_refused, ON_DISK),
        RIG_TEST_ON(only_the_resolver_spends, ON_DISK),
        RIG_TEST_ON(revoked_keys_and_shields_are_refused, ON_DISK),
        RIG_TEST_ON(a_spent_ticket_is_refused_and_auditors_learn_why, ON_DISK),
        RIG_TEST_ON(the_same_request_gets_the_same_answer_within_the_window_only, ON_DISK),
        RIG_TEST_ON(a_revoked_shields_lost_answer_is_lost, ON_DISK),
        RIG_TEST_ON(another_gateway_does_not_get_the_answer, ON_DISK),
        RIG_TEST_ON(of_32_racing_for_one_ticket_one_wins, ON_DISK),
        RIG_TEST_ON(without_audit_nothing_is_done, ON_DISK),
        RIG_TEST_ON(no_key_leaves_when_the_audit_log_refuses, ON_DISK),
        RIG_TEST_ON(some_of_the_callers_time_is_kept_for_the_answer, ON_DISK),
        RIG_TEST_ON(the_answer_waits_for_the_audit_log, ON_DISK),
        RIG_TEST_ON(the_quantum_key_is_on_disk_at_no_time_and_its_wrapping_only_before, ON_FILE),
        RIG_TEST_ON(a_full_disk_refuses_changes_nothing_and_is_survived, ON_FILE),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
