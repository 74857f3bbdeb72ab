/* The charger says that a fill's keys are durable on the shield: they become ready. Repeats are answered
 * alike. */
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "services/key-store/task.h"

struct confirm {
    struct task task;
    const Tg__ConfirmFillRequest *request; /* the call's */
    struct store_fill fill;
    bool confirmed; /* by this task, in a transaction whose outcome may not be known */
    char detail[48];
};

static enum tg_code find(struct confirm *confirm, struct store *store, struct tg_error *err)
{
    struct store_fill *fill = &confirm->fill;
    enum tg_code code = store->ops->fill_find(store, confirm->request->fill_id.data, fill, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "no such fill: fill again");
    TG_TRY(code);
    TG_ENSURE(strcmp(fill->shield_id, confirm->request->shield_id) == 0, err, TG_FAILED_PRECONDITION,
              "that fill was for another shield");
    TG_ENSURE(!fill->shield_revoked, err, TG_FAILED_PRECONDITION, "shield %s is revoked", fill->shield_id);
    return TG_OK;
}

static enum tg_code confirm_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct confirm *confirm = (struct confirm *)task;
    struct store_fill *fill = &confirm->fill;
    uint64_t now_s = task->ks->now_s();
    TG_TRY(find(confirm, store, err));
    bool again = fill->confirmed_s != 0 && !confirm->confirmed;
    if (fill->confirmed_s == 0) {
        TG_ENSURE(fill->created_s + FILL_CONFIRM_WINDOW_S > now_s && fill->expires_s > now_s, err,
                  TG_FAILED_PRECONDITION,
                  "that fill was not confirmed in time and its keys are gone: fill again");
        TG_TRY(store->ops->fill_confirm(store, fill, now_s, err));
        confirm->confirmed = true;
    }
    snprintf(confirm->detail, sizeof confirm->detail, "%u keys%s", fill->ready,
             again ? ", confirmed before" : "");
    return TG_OK;
}

static void confirm_describe(const struct task *task, Tg__Event *event)
{
    const struct confirm *confirm = (const struct confirm *)task;
    event->shield_id = confirm->request->shield_id;
    event->detail = pb_string(confirm->detail);
}

static void confirm_answer(struct task *task)
{
    Tg__ConfirmFillResponse response = TG__CONFIRM_FILL_RESPONSE__INIT;
    response.ready = ((struct confirm *)task)->fill.ready;
    rpc_reply(task->call, &response.base);
}

static const struct task_kind kind = {
    .event = "keys.ready",
    .refused = "keys.refused",
    .unaudited = TG_UNAVAILABLE, /* the same again is answered alike */
    .apply = confirm_apply,
    .describe = confirm_describe,
    .answer = confirm_answer,
};

void handle_confirm(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__ConfirmFillRequest *request = (const Tg__ConfirmFillRequest *)message;
    struct tg_error err;
    if (name_check_id("shield id", request->shield_id, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    if (request->fill_id.len != STORE_FILL_ID_LEN) {
        rpc_fail(call, TG_INVALID_ARGUMENT, "a fill id has %d bytes", STORE_FILL_ID_LEN);
        return;
    }
    struct confirm *confirm = task_new(sizeof *confirm, &kind, ks, call);
    if (confirm == NULL)
        return;
    confirm->request = request;
    task_submit(&confirm->task);
}
