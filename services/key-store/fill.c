/* Filling a shield: log the user in, make keys for his shield, hand them to the charger. They cannot be spent
 * before the charger has confirmed that they are on the shield, so a fill that breaks off leaves nothing
 * half-usable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "common/utf8.h"
#include "proto/radius_bridge.pb-c.h"
#include "task.h"

enum { KEY_LEN = AT_REST_KEY_LEN, REPLY_MAX = 160 };

struct fill {
    struct task task;
    const Tg__FillRequest *request; /* the call's */
    struct store_fill row;
    struct secret *keys;          /* count × KEY_LEN */
    struct store_new_key *sealed; /* count of each */
    uint8_t (*tickets)[TICKET_LEN];
    Tg__FillEntry *entries;
    Tg__FillEntry **entry_list;
    char detail[96];
};

/* ---- making keys: before the transaction, so that it stays short ---- */

static enum tg_code allocate(struct fill *fill, struct tg_error *err)
{
    size_t count = fill->request->count;
    fill->sealed = calloc(count, sizeof *fill->sealed);
    fill->tickets = calloc(count, sizeof *fill->tickets);
    fill->entries = calloc(count, sizeof *fill->entries);
    fill->entry_list = calloc(count, sizeof(Tg__FillEntry *));
    TG_ENSURE(fill->sealed != NULL && fill->tickets != NULL && fill->entries != NULL &&
                  fill->entry_list != NULL,
              err, TG_RESOURCE_EXHAUSTED, "out of memory for %zu keys", count);
    fill->keys = secret_new(count * KEY_LEN);
    TG_ENSURE(fill->keys != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for %zu keys: ask for fewer, or raise locked_memory", count);
    return TG_OK;
}

static enum tg_code make_key(struct fill *fill, size_t i, struct tg_error *err)
{
    const struct key_store *ks = fill->task.ks;
    uint8_t *key = secret_bytes(fill->keys) + i * KEY_LEN;
    struct ticket ticket = {.expires_s = fill->row.expires_s};
    memcpy(ticket.centre, ks->centre, sizeof ticket.centre);
    ticket_new_key_id(ticket.key_id);
    memcpy(fill->sealed[i].key_id, ticket.key_id, TICKET_KEY_ID_LEN);
    const struct at_rest_name name = {AT_REST_QUANTUM_KEY, ticket.key_id, TICKET_KEY_ID_LEN};
    TG_TRY(at_rest_seal(ks->keyring, &name, key, &fill->sealed[i].key, err));
    ticket_encode(&ticket, ks->ticket_key, fill->tickets[i]);

    fill->entry_list[i] = &fill->entries[i];
    tg__fill_entry__init(&fill->entries[i]);
    fill->entries[i].ticket = pb_bytes(fill->tickets[i], TICKET_LEN);
    fill->entries[i].key = pb_bytes(key, KEY_LEN);
    return TG_OK;
}

static enum tg_code make_keys(struct fill *fill, struct tg_error *err)
{
    struct key_store *ks = fill->task.ks;
    fill->row.created_s = ks->now_s();
    fill->row.expires_s = fill->row.created_s + ks->key_lifetime_s;
    random_bytes(fill->row.id, sizeof fill->row.id);
    memcpy(fill->row.request_id, rpc_call_request_id(fill->task.call), REQUEST_ID_LEN);
    snprintf(fill->row.shield_id, sizeof fill->row.shield_id, "%s", fill->request->shield_id);
    TG_TRY(allocate(fill, err));
    TG_TRY(ks->source->draw(ks->source, fill->keys, err));
    for (size_t i = 0; i < fill->request->count; i++)
        TG_TRY(make_key(fill, i, err));
    return TG_OK;
}

/* ---- the transaction, and the answer ---- */

static enum tg_code fill_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct fill *fill = (struct fill *)task;
    const Tg__FillRequest *request = fill->request;
    struct store_shield shield;
    enum tg_code code = store->ops->shield_find(store, request->shield_id, &shield, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "shield %s is not registered: tgctl shield add",
              request->shield_id);
    TG_TRY(code);
    TG_ENSURE(!shield.revoked, err, TG_FAILED_PRECONDITION, "shield %s is revoked", shield.id);
    TG_ENSURE(shield.owner[0] == '\0' || strcmp(shield.owner, request->user) == 0, err, TG_PERMISSION_DENIED,
              "shield %s belongs to another user", shield.id);
    code = store->ops->fill_add(store, &fill->row, fill->sealed, request->count, err);
    if (code == TG_ALREADY_EXISTS) { /* by this very task, when its first commit's outcome was not known? */
        struct store_fill made;
        code = store->ops->fill_find(store, fill->row.id, &made, err);
    }
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_FAILED_PRECONDITION,
              "this request has made its keys before and they are not given out twice: fill again");
    return code;
}

static void fill_committed(struct task *task)
{
    atomic_fetch_add(&task->ks->keys_made, ((const struct fill *)task)->request->count);
}

static void fill_describe(const struct task *task, Tg__Event *event)
{
    const struct fill *fill = (const struct fill *)task;
    event->user = fill->request->user;
    event->shield_id = fill->request->shield_id;
    event->detail = pb_string(fill->detail);
}

static void fill_answer(struct task *task)
{
    struct fill *fill = (struct fill *)task;
    Tg__FillResponse response = TG__FILL_RESPONSE__INIT;
    response.fill_id = pb_bytes(fill->row.id, sizeof fill->row.id);
    response.n_entries = fill->request->count;
    response.entries = fill->entry_list;
    rpc_reply(task->call, &response.base);
}

static void fill_wipe(struct task *task)
{
    struct fill *fill = (struct fill *)task;
    secret_free(fill->keys);
    free(fill->sealed);
    free(fill->tickets);
    free(fill->entries);
    free(fill->entry_list);
}

static const struct task_kind fill_kind = {
    .event = "keys.made",
    .refused = "keys.refused",
    .unaudited = TG_ABORTED,
    .apply = fill_apply,
    .committed = fill_committed,
    .describe = fill_describe,
    .answer = fill_answer,
    .wipe = fill_wipe,
};

/* ---- the user's login ---- */

static enum tg_code judge(const Tg__LoginResponse *login, struct tg_error *err)
{
    char reply[REPLY_MAX];
    utf8_clean(reply, sizeof reply, login->reply_message, strlen(login->reply_message), false);
    const char *colon = reply[0] != '\0' ? ": " : "";
    if (login->outcome == TG__LOGIN_RESPONSE__OUTCOME__ACCEPT)
        return TG_OK;
    if (login->outcome == TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE)
        return tg_fail(err, TG_FAILED_PRECONDITION,
                       "the login asks a further question, which a charger cannot answer%s%s", colon, reply);
    return tg_fail(err, TG_UNAUTHENTICATED, "the user's login was refused%s%s", colon, reply);
}

static void logged_in(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct fill *fill = arg;
    struct tg_error err;
    secret_wipe(fill->request->password.data, fill->request->password.len);
    if (status != TG_OK)
        task_refuse(&fill->task, status, text);
    else if (judge((const Tg__LoginResponse *)response, &err) != TG_OK || make_keys(fill, &err) != TG_OK)
        task_refuse(&fill->task, err.code, err.text);
    else
        task_submit(&fill->task);
}

static void log_in(struct fill *fill)
{
    const struct rpc_call *call = fill->task.call;
    char session[2 * REQUEST_ID_LEN + 1];
    hex_encode(rpc_call_request_id(call), REQUEST_ID_LEN, session);
    Tg__LoginRequest login = TG__LOGIN_REQUEST__INIT;
    login.user = fill->request->user;
    login.password = fill->request->password;
    login.session_id = session;
    login.nas_identifier = pb_string("charger");
    uint32_t budget = rpc_call_remaining_ms(call);
    rpc_start(fill->task.ks->bridge,
              &(struct rpc_request){.service = &tg__radius_bridge__descriptor,
                                    .method = "Login",
                                    .message = &login.base,
                                    .budget_ms = budget > 0 ? budget : 1,
                                    .trace = rpc_call_trace(call)},
              logged_in, fill);
}

static enum tg_code check_fill(const Tg__FillRequest *request, struct tg_error *err)
{
    TG_TRY(name_check_id("shield id", request->shield_id, err));
    TG_TRY(name_check_text("user", request->user, err));
    TG_ENSURE(request->user[0] != '\0', err, TG_INVALID_ARGUMENT, "user is missing");
    TG_ENSURE(request->password.len >= 1 && request->password.len <= PASSWORD_MAX, err, TG_INVALID_ARGUMENT,
              "a password has 1 to %d bytes", PASSWORD_MAX);
    TG_ENSURE(request->count >= 1 && request->count <= FILL_MAX, err, TG_INVALID_ARGUMENT,
              "a fill makes 1 to %d keys, not %u", FILL_MAX, request->count);
    return TG_OK;
}

void handle_fill(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__FillRequest *request = (const Tg__FillRequest *)message;
    struct tg_error err;
    if (check_fill(request, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    struct fill *fill = task_new(sizeof *fill, &fill_kind, ks, call);
    if (fill == NULL)
        return;
    fill->request = request;
    snprintf(fill->detail, sizeof fill->detail, "%u keys from %s", request->count, ks->source->name);
    if (audit_client_ready(ks->audit))
        log_in(fill);
    else /* before the user spends a one-time password on it */
        task_refuse(&fill->task, TG_UNAVAILABLE, "the audit service cannot be reached: nothing was done");
}
