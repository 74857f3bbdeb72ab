/* Spending a key (step 8): ready → spent, once. A lost answer can be fetched again, by the same request
 * alone, for a short while. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "common/ticket_info.h"
#include "services/key-store/task.h"

struct spend {
    struct task task;
    const Tg__SpendRequest *request; /* the call's */
    struct ticket ticket;
    char shield_id[NAME_ID_MAX + 1]; /* "" until the key is found */
    char detail[64];
    bool spent; /* by this task, in a transaction whose outcome may not be known */
    bool again; /* it was spent by this very request before, in another call */
    uint8_t answer[STORE_ANSWER_MAX];
    size_t answer_len;
};

static const char *const not_ready[KEY_STATES] = {
    [KEY_MADE] = "the key was never confirmed to be on its shield",
    [KEY_SPENT] = "the ticket is spent",
    [KEY_REVOKED] = "the ticket is revoked",
    [KEY_EXPIRED] = "the ticket is expired",
};

static void tell_request(struct spend *spend, const char *more)
{
    char hex[2 * REQUEST_ID_LEN + 1];
    hex_encode(rpc_call_request_id(spend->task.call), REQUEST_ID_LEN, hex);
    snprintf(spend->detail, sizeof spend->detail, "request %s%s", hex, more);
}

/* ---- in the transaction ---- */

static enum tg_code find_qkud(struct spend *spend, struct store *store, struct store_qkud *qkud,
                              struct tg_error *err)
{
    enum tg_code code = store->ops->qkud_find(store, spend->request->qkud_id, qkud, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_PERMISSION_DENIED, "QKUD %s is not registered",
              spend->request->qkud_id);
    TG_TRY(code);
    TG_ENSURE(!qkud->revoked, err, TG_PERMISSION_DENIED, "QKUD %s is revoked", qkud->id);
    return TG_OK;
}

static enum tg_code find_key(struct spend *spend, struct store *store, struct store_key *key,
                             struct tg_error *err)
{
    enum tg_code code = store->ops->key_find(store, spend->ticket.key_id, key, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "the ticket names no key of this centre");
    TG_TRY(code);
    memcpy(spend->shield_id, key->shield.id, sizeof spend->shield_id);
    TG_ENSURE(!key->shield.revoked, err, TG_FAILED_PRECONDITION, "shield %s is revoked", key->shield.id);
    TG_ENSURE(key->expires_s > spend->task.ks->now_s(), err, TG_FAILED_PRECONDITION, "%s",
              not_ready[KEY_EXPIRED]);
    return TG_OK;
}

static enum tg_code seal_answer(struct spend *spend, const struct store_key *key,
                                const struct store_qkud *qkud, struct tg_error *err)
{
    const struct keyring *ring = spend->task.ks->keyring;
    const struct at_rest_name key_name = {AT_REST_QUANTUM_KEY, key->key_id, sizeof key->key_id};
    const struct at_rest_name qkud_name = {AT_REST_QKUD_KEY, qkud->id, strlen(qkud->id)};
    TG_CLEANUP(secret_cleanup) struct secret *quantum_key = NULL;
    TG_CLEANUP(secret_cleanup) struct secret *qkud_key = NULL;
    TG_TRY(at_rest_open(ring, &key_name, &key->key, &quantum_key, err));
    TG_TRY(at_rest_open(ring, &qkud_name, &qkud->key, &qkud_key, err));

    struct ticket_info info = {0};
    memcpy(info.ticket, spend->request->ticket.data, TICKET_LEN);
    snprintf(info.qkud_id, sizeof info.qkud_id, "%s", qkud->id);
    snprintf(info.shield_id, sizeof info.shield_id, "%s", key->shield.id);
    snprintf(info.owner, sizeof info.owner, "%s", key->shield.owner);
    snprintf(info.policy, sizeof info.policy, "%s", key->shield.policy);
    uint8_t *sealed = NULL;
    TG_TRY(ticket_info_seal(&info, quantum_key, qkud_key, rpc_call_request_id(spend->task.call), &sealed,
                            &spend->answer_len, err));
    TG_INVARIANT(spend->answer_len <= sizeof spend->answer);
    memcpy(spend->answer, sealed, spend->answer_len);
    free(sealed);
    return TG_OK;
}

static enum tg_code spend_ready(struct spend *spend, struct store *store, const struct store_key *key,
                                const struct store_qkud *qkud, struct tg_error *err)
{
    TG_TRY(seal_answer(spend, key, qkud, err));
    tell_request(spend, "");
    spend->spent = true;
    return store->ops->key_spend(store, key,
                                 &(struct store_spend){.now_s = spend->task.ks->now_s(),
                                                       .qkud_id = qkud->id,
                                                       .request_id = rpc_call_request_id(spend->task.call),
                                                       .answer = spend->answer,
                                                       .answer_len = spend->answer_len},
                                 err);
}

/* The same request of the same gateway, its answer lost on the way: the same answer. Everyone else comes too
 * late. */
static enum tg_code answer_again(struct spend *spend, struct store *store, const struct store_key *key,
                                 struct tg_error *err)
{
    const struct key_store *ks = spend->task.ks;
    bool same = memcmp(key->request_id, rpc_call_request_id(spend->task.call), REQUEST_ID_LEN) == 0 &&
                strcmp(key->spent_by, spend->request->qkud_id) == 0;
    TG_ENSURE(same, err, TG_FAILED_PRECONDITION, "%s", not_ready[KEY_SPENT]);
    spend->again = !spend->spent;
    tell_request(spend, spend->again ? ", asked again" : "");
    enum tg_code code = store->ops->key_answer(store, key, ks->now_s() - ks->answer_window_s, spend->answer,
                                               &spend->answer_len, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_FAILED_PRECONDITION, "%s, and its answer is not kept any more",
              not_ready[KEY_SPENT]);
    return code;
}

static enum tg_code spend_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct spend *spend = (struct spend *)task;
    struct store_qkud qkud;
    struct store_key key;
    TG_TRY(find_qkud(spend, store, &qkud, err));
    TG_TRY(find_key(spend, store, &key, err));
    if (key.state == KEY_READY)
        return spend_ready(spend, store, &key, &qkud, err);
    if (key.state == KEY_SPENT)
        return answer_again(spend, store, &key, err);
    return tg_fail(err, TG_FAILED_PRECONDITION, "%s", not_ready[key.state]);
}

/* ---- around it ---- */

static void spend_committed(struct task *task)
{
    atomic_fetch_add(&task->ks->keys_spent, ((const struct spend *)task)->again ? 0 : 1);
}

static void spend_describe(const struct task *task, Tg__Event *event)
{
    const struct spend *spend = (const struct spend *)task;
    if (spend->request->ticket.len == TICKET_LEN)
        event->ticket = spend->request->ticket;
    event->qkud_id = spend->request->qkud_id;
    event->source = spend->request->source;
    event->shield_id = pb_string(spend->shield_id);
    event->detail = pb_string(spend->detail);
}

static void spend_answer(struct task *task)
{
    struct spend *spend = (struct spend *)task;
    Tg__SpendResponse response = TG__SPEND_RESPONSE__INIT;
    response.ticket_info = pb_bytes(spend->answer, spend->answer_len);
    rpc_reply(task->call, &response.base);
}

static const struct task_kind kind = {
    .event = "key.spent",
    .refused = "key.refused",
    .unaudited =
        TG_ABORTED, /* UNAVAILABLE would be tried again at once, and the user would wait for all of it */
    .apply = spend_apply,
    .committed = spend_committed,
    .describe = spend_describe,
    .answer = spend_answer,
};

/* Names first: what is audited must be bounded. */
static enum tg_code check_names(const Tg__SpendRequest *request, struct tg_error *err)
{
    TG_TRY(name_check_id("QKUD id", request->qkud_id, err));
    return name_check_text("source", request->source, err);
}

/* The resolver has looked already; a key store does not take its word for it. */
static enum tg_code check_ticket(struct spend *spend, struct tg_error *err)
{
    const struct key_store *ks = spend->task.ks;
    const ProtobufCBinaryData *bytes = &spend->request->ticket;
    TG_TRY(ticket_decode(bytes->data, bytes->len, ks->ticket_key, ks->now_s(), &spend->ticket, err));
    TG_ENSURE(memcmp(spend->ticket.centre, ks->centre, TICKET_CENTRE_LEN) == 0, err, TG_UNAUTHENTICATED,
              "the ticket is another centre's");
    return TG_OK;
}

void handle_spend(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__SpendRequest *request = (const Tg__SpendRequest *)message;
    struct tg_error err;
    if (check_names(request, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    struct spend *spend = task_new(sizeof *spend, &kind, ks, call);
    if (spend == NULL)
        return;
    spend->request = request;
    if (check_ticket(spend, &err) != TG_OK) {
        task_refuse(&spend->task, err.code, err.text);
        return;
    }
    spend->task.work.key_id = spend->ticket.key_id;
    task_submit(&spend->task);
}
