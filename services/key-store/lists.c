/* What operators read: pages of QKUDs, shields and keys. */
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "services/key-store/task.h"

/* One struct for the three lists. One row more than asked for is read, to know whether there are more. */
struct list {
    struct task task;
    const ProtobufCMessage *request; /* the call's */
    size_t limit, count;
    union {
        void *rows; /* limit + 1 of one of these: */
        struct store_qkud *qkuds;
        struct store_shield *shields;
        struct store_key *keys;
    };
    void *items; /* limit messages for the answer, */
    void **list; /* and pointers to them */
};

static void wipe(struct task *task)
{
    struct list *list = (struct list *)task;
    free(list->rows);
    free(list->items);
    free((void *)list->list);
}

/* Answers the call when it refuses. `checked` is what has been found wrong so far. */
static void list_start(struct list *list, uint32_t limit, size_t row_size, size_t item_size,
                       enum tg_code checked, const struct tg_error *checked_err)
{
    if (checked != TG_OK) {
        task_refuse(&list->task, checked, checked_err->text);
        return;
    }
    if (limit > STORE_LIST_MAX) {
        task_refuse(&list->task, TG_INVALID_ARGUMENT, "a list gives at most 500 at once");
        return;
    }
    list->limit = limit != 0 ? limit : STORE_LIST_MAX;
    list->rows = calloc(list->limit + 1, row_size);
    list->items = calloc(list->limit, item_size);
    list->list = (void **)calloc(list->limit, sizeof(void *));
    if (list->rows == NULL || list->items == NULL || list->list == NULL)
        task_refuse(&list->task, TG_RESOURCE_EXHAUSTED, "out of memory for a list");
    else
        task_submit(&list->task);
}

static size_t listed(const struct list *list)
{
    return list->count < list->limit ? list->count : list->limit;
}

/* ---- QKUDs ---- */

static void keep_qkud(void *arg, const struct store_qkud *qkud)
{
    struct list *list = arg;
    list->qkuds[list->count++] = *qkud;
}

static enum tg_code qkuds_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct list *list = (struct list *)task;
    const Tg__QkudListRequest *request = (const Tg__QkudListRequest *)list->request;
    list->count = 0; /* it may be applied again */
    return store->ops->qkud_list(store, request->after_qkud_id, list->limit + 1, keep_qkud, list, err);
}

static void qkuds_answer(struct task *task)
{
    struct list *list = (struct list *)task;
    Tg__QkudListResponse response = TG__QKUD_LIST_RESPONSE__INIT;
    Tg__Qkud *items = list->items;
    response.n_qkuds = listed(list);
    response.qkuds = (Tg__Qkud **)list->list;
    response.more = list->count > list->limit;
    for (size_t i = 0; i < response.n_qkuds; i++) {
        tg__qkud__init(&items[i]);
        items[i].qkud_id = list->qkuds[i].id;
        items[i].description = list->qkuds[i].description;
        items[i].created_s = list->qkuds[i].created_s;
        items[i].revoked = list->qkuds[i].revoked;
        list->list[i] = &items[i];
    }
    rpc_reply(task->call, &response.base);
}

void handle_qkud_list(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__QkudListRequest *request = (const Tg__QkudListRequest *)message;
    static const struct task_kind kind = {.apply = qkuds_apply, .answer = qkuds_answer, .wipe = wipe};
    struct tg_error err;
    struct list *list = task_new(sizeof *list, &kind, ks, call);
    if (list == NULL)
        return;
    list->request = &request->base;
    enum tg_code checked =
        request->after_qkud_id[0] != '\0' ? name_check_id("QKUD id", request->after_qkud_id, &err) : TG_OK;
    list_start(list, request->limit, sizeof(struct store_qkud), sizeof(Tg__Qkud), checked, &err);
}

/* ---- shields ---- */

static void keep_shield(void *arg, const struct store_shield *shield)
{
    struct list *list = arg;
    list->shields[list->count++] = *shield;
}

static enum tg_code shields_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct list *list = (struct list *)task;
    const Tg__ShieldListRequest *request = (const Tg__ShieldListRequest *)list->request;
    list->count = 0; /* it may be applied again */
    return store->ops->shield_list(store, request->after_shield_id, list->limit + 1, keep_shield, list, err);
}

static void shields_answer(struct task *task)
{
    struct list *list = (struct list *)task;
    Tg__ShieldListResponse response = TG__SHIELD_LIST_RESPONSE__INIT;
    Tg__Shield *items = list->items;
    response.n_shields = listed(list);
    response.shields = (Tg__Shield **)list->list;
    response.more = list->count > list->limit;
    for (size_t i = 0; i < response.n_shields; i++) {
        struct store_shield *shield = &list->shields[i];
        tg__shield__init(&items[i]);
        items[i].shield_id = shield->id;
        items[i].owner = shield->owner;
        items[i].policy = shield->policy;
        items[i].created_s = shield->created_s;
        items[i].revoked = shield->revoked;
        items[i].made = shield->made;
        items[i].ready = shield->ready;
        items[i].spent = shield->spent;
        list->list[i] = &items[i];
    }
    rpc_reply(task->call, &response.base);
}

void handle_shield_list(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__ShieldListRequest *request = (const Tg__ShieldListRequest *)message;
    static const struct task_kind kind = {.apply = shields_apply, .answer = shields_answer, .wipe = wipe};
    struct tg_error err;
    struct list *list = task_new(sizeof *list, &kind, ks, call);
    if (list == NULL)
        return;
    list->request = &request->base;
    enum tg_code checked = request->after_shield_id[0] != '\0'
                               ? name_check_id("shield id", request->after_shield_id, &err)
                               : TG_OK;
    list_start(list, request->limit, sizeof(struct store_shield), sizeof(Tg__Shield), checked, &err);
}

/* ---- keys ---- */

static void keep_key(void *arg, const struct store_key *key)
{
    struct list *list = arg;
    list->keys[list->count++] = *key;
}

static enum tg_code keys_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct list *list = (struct list *)task;
    const Tg__KeyListRequest *request = (const Tg__KeyListRequest *)list->request;
    list->count = 0; /* it may be applied again */
    const struct store_key_filter filter = {
        .shield_id = request->shield_id,
        .state = request->state[0] != '\0' ? key_state_find(request->state) : KEY_STATES,
        .owner = request->owner,
        .expires_before_s = request->expires_before_s,
        .after_key_id = request->after_key_id.len != 0 ? request->after_key_id.data : NULL};
    enum tg_code code = store->ops->key_list(store, &filter, list->limit + 1, keep_key, list, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, "no such key to go on after");
    return code;
}

static void keys_answer(struct task *task)
{
    struct list *list = (struct list *)task;
    Tg__KeyListResponse response = TG__KEY_LIST_RESPONSE__INIT;
    Tg__Key *items = list->items;
    response.n_keys = listed(list);
    response.keys = (Tg__Key **)list->list;
    response.more = list->count > list->limit;
    for (size_t i = 0; i < response.n_keys; i++) {
        key_message(&list->keys[i], &items[i]);
        list->list[i] = &items[i];
    }
    rpc_reply(task->call, &response.base);
}

static enum tg_code check_key_list(const Tg__KeyListRequest *request, struct tg_error *err)
{
    if (request->shield_id[0] != '\0')
        TG_TRY(name_check_id("shield id", request->shield_id, err));
    TG_ENSURE(request->state[0] == '\0' || key_state_find(request->state) != KEY_STATES, err,
              TG_INVALID_ARGUMENT, "a key's state is made, ready, spent, revoked or expired");
    TG_TRY(name_check_text("owner", request->owner, err));
    TG_ENSURE(request->expires_before_s <= INT64_MAX, err, TG_INVALID_ARGUMENT, "that time is out of bounds");
    TG_ENSURE(request->after_key_id.len == 0 || request->after_key_id.len == TICKET_KEY_ID_LEN, err,
              TG_INVALID_ARGUMENT, "a key id has %d bytes, not %zu", TICKET_KEY_ID_LEN,
              request->after_key_id.len);
    return TG_OK;
}

void handle_key_list(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__KeyListRequest *request = (const Tg__KeyListRequest *)message;
    static const struct task_kind kind = {.apply = keys_apply, .answer = keys_answer, .wipe = wipe};
    struct tg_error err;
    struct list *list = task_new(sizeof *list, &kind, ks, call);
    if (list == NULL)
        return;
    list->request = &request->base;
    list_start(list, request->limit, sizeof(struct store_key), sizeof(Tg__Key), check_key_list(request, &err),
               &err);
}
