/* What operators change: QKUDs, shields, single keys. */
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "services/key-store/task.h"

/* One struct for all of them: what is named, and what came of it. */
struct change {
    struct task task;
    struct store_qkud qkud;
    struct store_shield shield;
    uint8_t key_id[TICKET_KEY_ID_LEN];
    struct secret *qkud_key;
    bool added; /* in a transaction whose outcome may not be known */
    uint32_t keys_revoked;
    char detail[160];
};

static void describe(const struct task *task, Tg__Event *event)
{
    const struct change *change = (const struct change *)task;
    event->qkud_id = pb_string(change->qkud.id);
    event->shield_id = pb_string(change->shield.id);
    event->user = pb_string(change->shield.owner);
    event->policy = pb_string(change->shield.policy);
    event->detail = pb_string(change->detail);
}

static void wipe(struct task *task)
{
    secret_free(((struct change *)task)->qkud_key);
}

/* A request that is no good is the operator's slip, nothing for auditors. NULL: the call has been answered.
 */
static struct change *change_new(const struct task_kind *kind, struct key_store *ks, struct rpc_call *call,
                                 enum tg_code checked, const struct tg_error *err)
{
    if (checked == TG_OK)
        return task_new(sizeof(struct change), kind, ks, call);
    rpc_fail(call, checked, "%s", err->text);
    return NULL;
}

static void copy(char *out, size_t size, const char *text)
{
    int len = snprintf(out, size, "%s", text);
    TG_INVARIANT(len >= 0 && (size_t)len < size); /* names have been checked */
}

/* ---- QKUDs ---- */

/* There already: by this very task, when it is applied again? Then its key lies there. */
static enum tg_code qkud_is_ours(const struct change *change, struct store *store, struct tg_error *err)
{
    struct store_qkud found;
    TG_TRY(store->ops->qkud_find(store, change->qkud.id, &found, err));
    bool same =
        !found.revoked && memcmp(found.key.sealed, change->qkud.key.sealed, sizeof found.key.sealed) == 0;
    return same ? TG_OK : TG_ALREADY_EXISTS;
}

static enum tg_code qkud_add_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct change *change = (struct change *)task;
    const struct at_rest_name name = {AT_REST_QKUD_KEY, change->qkud.id, strlen(change->qkud.id)};
    TG_TRY(at_rest_renew(task->ks->keyring, &name, &change->qkud.key, err));
    enum tg_code code = store->ops->qkud_add(store, &change->qkud, err);
    if (code == TG_ALREADY_EXISTS)
        code = qkud_is_ours(change, store, err);
    TG_ENSURE(code != TG_ALREADY_EXISTS, err, TG_ALREADY_EXISTS,
              "QKUD %s exists, or did: choose another id (a key is given out once)", change->qkud.id);
    return code;
}

static void qkud_add_answer(struct task *task)
{
    Tg__QkudAddResponse response = TG__QKUD_ADD_RESPONSE__INIT;
    const struct secret *key = ((struct change *)task)->qkud_key;
    response.key = pb_bytes(secret_view(key), secret_len(key));
    rpc_reply(task->call, &response.base);
}

static enum tg_code make_qkud_key(struct change *change, struct tg_error *err)
{
    const struct key_store *ks = change->task.ks;
    const struct at_rest_name name = {AT_REST_QKUD_KEY, change->qkud.id, strlen(change->qkud.id)};
    change->qkud_key = secret_random(AT_REST_KEY_LEN);
    TG_ENSURE(change->qkud_key != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    return at_rest_seal(ks->keyring, &name, secret_view(change->qkud_key), &change->qkud.key, err);
}

static enum tg_code check_qkud(const char *id, const char *description, struct tg_error *err)
{
    TG_TRY(name_check_id("QKUD id", id, err));
    return name_check_text("description", description, err);
}

void handle_qkud_add(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__QkudAddRequest *request = (const Tg__QkudAddRequest *)message;
    static const struct task_kind kind = {.event = "qkud.added",
                                          .unaudited = TG_ABORTED,
                                          .apply = qkud_add_apply,
                                          .describe = describe,
                                          .answer = qkud_add_answer,
                                          .wipe = wipe};
    struct tg_error err;
    enum tg_code checked = check_qkud(request->qkud_id, request->description, &err);
    struct change *change = change_new(&kind, ks, call, checked, &err);
    if (change == NULL)
        return;
    copy(change->qkud.id, sizeof change->qkud.id, request->qkud_id);
    copy(change->qkud.description, sizeof change->qkud.description, request->description);
    change->qkud.created_s = ks->now_s();
    if (make_qkud_key(change, &err) == TG_OK)
        task_submit(&change->task);
    else
        task_refuse(&change->task, err.code, err.text);
}

static enum tg_code qkud_revoke_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct change *change = (struct change *)task;
    enum tg_code code = store->ops->qkud_revoke(store, change->qkud.id, task->ks->now_s(), err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "QKUD %s is not registered", change->qkud.id);
    return code;
}

static void qkud_revoke_answer(struct task *task)
{
    Tg__QkudRevokeResponse response = TG__QKUD_REVOKE_RESPONSE__INIT;
    rpc_reply(task->call, &response.base);
}

void handle_qkud_revoke(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__QkudRevokeRequest *request = (const Tg__QkudRevokeRequest *)message;
    static const struct task_kind kind = {.event = "qkud.revoked",
                                          .unaudited = TG_UNAVAILABLE, /* revoking again is harmless */
                                          .apply = qkud_revoke_apply,
                                          .describe = describe,
                                          .answer = qkud_revoke_answer};
    struct tg_error err;
    struct change *change =
        change_new(&kind, ks, call, name_check_id("QKUD id", request->qkud_id, &err), &err);
    if (change == NULL)
        return;
    copy(change->qkud.id, sizeof change->qkud.id, request->qkud_id);
    task_submit(&change->task);
}

/* ---- shields ---- */

static enum tg_code shield_is_ours(const struct change *change, struct store *store, struct tg_error *err)
{
    struct store_shield found;
    TG_TRY(store->ops->shield_find(store, change->shield.id, &found, err));
    bool same = found.created_s == change->shield.created_s &&
                strcmp(found.owner, change->shield.owner) == 0 &&
                strcmp(found.policy, change->shield.policy) == 0;
    return same ? TG_OK : TG_ALREADY_EXISTS;
}

static enum tg_code shield_add_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct change *change = (struct change *)task;
    enum tg_code code = store->ops->shield_add(store, &change->shield, err);
    if (code == TG_ALREADY_EXISTS && change->added)
        code = shield_is_ours(change, store, err);
    change->added = code == TG_OK;
    TG_ENSURE(code != TG_ALREADY_EXISTS, err, TG_ALREADY_EXISTS,
              "shield %s exists, or did: choose another id", change->shield.id);
    return code;
}

static void shield_add_answer(struct task *task)
{
    Tg__ShieldAddResponse response = TG__SHIELD_ADD_RESPONSE__INIT;
    rpc_reply(task->call, &response.base);
}

static enum tg_code check_shield(const Tg__ShieldAddRequest *request, struct tg_error *err)
{
    TG_TRY(name_check_id("shield id", request->shield_id, err));
    TG_TRY(name_check_text("owner", request->owner, err));
    return name_check_text("policy", request->policy, err);
}

void handle_shield_add(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__ShieldAddRequest *request = (const Tg__ShieldAddRequest *)message;
    static const struct task_kind kind = {.event = "shield.added",
                                          .unaudited = TG_ABORTED,
                                          .apply = shield_add_apply,
                                          .describe = describe,
                                          .answer = shield_add_answer};
    struct tg_error err;
    struct change *change = change_new(&kind, ks, call, check_shield(request, &err), &err);
    if (change == NULL)
        return;
    copy(change->shield.id, sizeof change->shield.id, request->shield_id);
    copy(change->shield.owner, sizeof change->shield.owner, request->owner);
    copy(change->shield.policy, sizeof change->shield.policy, request->policy);
    change->shield.created_s = ks->now_s();
    task_submit(&change->task);
}

static enum tg_code shield_revoke_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct change *change = (struct change *)task;
    uint32_t keys = 0;
    enum tg_code code = store->ops->shield_revoke(store, change->shield.id, task->ks->now_s(), &keys, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "shield %s is not registered", change->shield.id);
    if (keys > 0) /* or they are revoked already: by this very task, when it is applied again */
        change->keys_revoked = keys;
    snprintf(change->detail, sizeof change->detail, "%u keys", change->keys_revoked);
    return code;
}

static void shield_revoke_answer(struct task *task)
{
    Tg__ShieldRevokeResponse response = TG__SHIELD_REVOKE_RESPONSE__INIT;
    response.keys_revoked = ((struct change *)task)->keys_revoked;
    rpc_reply(task->call, &response.base);
}

void handle_shield_revoke(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__ShieldRevokeRequest *request = (const Tg__ShieldRevokeRequest *)message;
    static const struct task_kind kind = {.event = "shield.revoked",
                                          .unaudited = TG_UNAVAILABLE,
                                          .apply = shield_revoke_apply,
                                          .describe = describe,
                                          .answer = shield_revoke_answer};
    struct tg_error err;
    struct change *change =
        change_new(&kind, ks, call, name_check_id("shield id", request->shield_id, &err), &err);
    if (change == NULL)
        return;
    copy(change->shield.id, sizeof change->shield.id, request->shield_id);
    task_submit(&change->task);
}

/* ---- single keys ---- */

static enum tg_code key_revoke_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct change *change = (struct change *)task;
    struct store_key key;
    enum tg_code code = store->ops->key_find(store, change->key_id, &key, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "no such key");
    TG_TRY(code);
    TG_ENSURE(key.state != KEY_SPENT && key.state != KEY_EXPIRED, err, TG_FAILED_PRECONDITION,
              "the key cannot be revoked: it is %s", key_state_name(key.state));
    copy(change->shield.id, sizeof change->shield.id, key.shield.id);
    return store->ops->key_revoke(store, &key, err);
}

static void key_revoke_answer(struct task *task)
{
    Tg__KeyRevokeResponse response = TG__KEY_REVOKE_RESPONSE__INIT;
    rpc_reply(task->call, &response.base);
}

void handle_key_revoke(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__KeyRevokeRequest *request = (const Tg__KeyRevokeRequest *)message;
    static const struct task_kind kind = {.event = "key.revoked",
                                          .unaudited = TG_UNAVAILABLE,
                                          .apply = key_revoke_apply,
                                          .describe = describe,
                                          .answer = key_revoke_answer};
    struct tg_error err;
    uint8_t key_id[TICKET_KEY_ID_LEN];
    struct change *change =
        change_new(&kind, ks, call, key_named(&request->key_id, &request->ticket, key_id, &err), &err);
    if (change == NULL)
        return;
    memcpy(change->key_id, key_id, sizeof change->key_id);
    char text[37];
    ticket_key_id_text(key_id, text);
    snprintf(change->detail, sizeof change->detail, "key %s", text);
    task_submit(&change->task);
}
