/* What an operator asks about one key, named by its id or by the ticket that somebody holds. */
#include <string.h>

#include "common/pb.h"
#include "services/key-store/task.h"

enum tg_code key_named(const ProtobufCBinaryData *id, const ProtobufCBinaryData *ticket,
                       uint8_t key_id[TICKET_KEY_ID_LEN], struct tg_error *err)
{
    TG_ENSURE((id->len > 0) != (ticket->len > 0), err, TG_INVALID_ARGUMENT,
              "name either a key id or a ticket");
    if (ticket->len > 0) {
        struct ticket peeked; /* which may well have expired */
        TG_TRY(ticket_peek(ticket->data, ticket->len, &peeked, err));
        memcpy(key_id, peeked.key_id, TICKET_KEY_ID_LEN);
        return TG_OK;
    }
    TG_ENSURE(id->len == TICKET_KEY_ID_LEN, err, TG_INVALID_ARGUMENT, "a key id has %d bytes, not %zu",
              TICKET_KEY_ID_LEN, id->len);
    memcpy(key_id, id->data, TICKET_KEY_ID_LEN);
    return TG_OK;
}

struct find {
    struct task task;
    uint8_t key_id[TICKET_KEY_ID_LEN];
    struct store_key key;
};

static enum tg_code apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct find *find = (struct find *)task;
    enum tg_code code = store->ops->key_find(store, find->key_id, &find->key, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "no such key");
    return code;
}

void key_message(const struct store_key *key, Tg__Key *out)
{
    tg__key__init(out);
    out->key_id = pb_bytes(key->key_id, sizeof key->key_id);
    out->shield_id = pb_string(key->shield.id);
    out->state = pb_string(key_state_name(key->state));
    out->created_s = key->created_s;
    out->expires_s = key->expires_s;
    out->spent_s = key->spent_s;
    out->spent_by = pb_string(key->spent_by);
}

static void answer(struct task *task)
{
    const struct store_key *key = &((const struct find *)task)->key;
    Tg__KeyFindResponse response = TG__KEY_FIND_RESPONSE__INIT;
    Tg__Key found;
    key_message(key, &found);
    response.key = &found;
    response.owner = pb_string(key->shield.owner);
    response.policy = pb_string(key->shield.policy);
    response.shield_revoked = key->shield.revoked;
    rpc_reply(task->call, &response.base);
}

void handle_key_find(struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct task_kind kind = {.apply = apply, .answer = answer};
    const Tg__KeyFindRequest *request = (const Tg__KeyFindRequest *)message;
    struct tg_error err;
    struct find *find = task_new(sizeof *find, &kind, rpc_call_context(call), call);
    if (find == NULL)
        return;
    if (key_named(&request->key_id, &request->ticket, find->key_id, &err) == TG_OK)
        task_submit(&find->task);
    else
        task_refuse(&find->task, err.code, err.text);
}
