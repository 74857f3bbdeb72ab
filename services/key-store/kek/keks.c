/* What operators see of the KEKs, and how they ask for a rotation. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/pb.h"
#include "services/key-store/task.h"

/* One struct for both calls. */
struct keks {
    struct task task;
    size_t count;
    uint32_t ids[KEKS_MAX]; /* in order */
    uint64_t keys[KEKS_MAX];
    uint32_t newest;
    uint64_t older; /* keys under another than the newest */
    bool rotating;
    char detail[64];
};

/* ---- in the transaction ---- */

static void insert(struct keks *keks, uint32_t id)
{
    size_t at = keks->count++;
    for (; at > 0 && keks->ids[at - 1] > id; at--)
        keks->ids[at] = keks->ids[at - 1];
    keks->ids[at] = id;
}

static enum tg_code count(struct keks *keks, struct store *store, struct tg_error *err)
{
    const struct keyring *ring = keks->task.ks->keyring;
    size_t count = keyring_count(ring); /* it may grow meanwhile */
    keks->count = 0;                    /* and all this may be applied again */
    keks->older = 0;
    for (size_t i = 0; i < count; i++)
        insert(keks, keyring_id(ring, i));
    keks->newest = keks->ids[count - 1];
    for (size_t i = 0; i < count; i++) {
        TG_TRY(store->ops->kek_rows(store, keks->ids[i], &keks->keys[i], err));
        if (keks->ids[i] != keks->newest)
            keks->older += keks->keys[i];
    }
    return TG_OK;
}

static enum tg_code list_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct keks *keks = (struct keks *)task;
    uint32_t wanted = 0;
    TG_TRY(count(keks, store, err));
    TG_TRY(rotation_requested(store, &wanted, err));
    keks->rotating = wanted != 0;
    return TG_OK;
}

static enum tg_code rotate_apply(struct task *task, struct store *store, struct tg_error *err)
{
    struct keks *keks = (struct keks *)task;
    TG_TRY(count(keks, store, err));
    TG_ENSURE(keks->count > 1, err, TG_FAILED_PRECONDITION,
              "there is only KEK %" PRIu32
              ": add one with a higher id to keks and reload the key store (SIGHUP)",
              keks->newest);
    snprintf(keks->detail, sizeof keks->detail, "to KEK %" PRIu32 ", %" PRIu64 " keys", keks->newest,
             keks->older);
    return rotation_request(task->ks->rotation, store, err);
}

/* ---- answers ---- */

static void list_answer(struct task *task)
{
    const struct keks *keks = (const struct keks *)task;
    const struct key_store *ks = task->ks;
    Tg__KekListResponse response = TG__KEK_LIST_RESPONSE__INIT;
    struct rotation_status status;
    Tg__Kek items[KEKS_MAX];
    Tg__Kek *list[KEKS_MAX];
    for (size_t i = 0; i < keks->count; i++) {
        list[i] = &items[i];
        tg__kek__init(&items[i]);
        items[i].kek_id = keks->ids[i];
        items[i].place = pb_string(keyring_place(ks->keyring, keks->ids[i]));
        items[i].keys = keks->keys[i];
        items[i].newest = keks->ids[i] == keks->newest;
        items[i].removable = !items[i].newest && keks->keys[i] == 0;
    }
    rotation_status(ks->rotation, &status);
    response.n_keks = keks->count;
    response.keks = list;
    response.rotating = keks->rotating;
    response.rewrapped = status.rewrapped;
    response.problem = keks->rotating ? status.problem : pb_string("");
    rpc_reply(task->call, &response.base);
}

static void rotate_describe(const struct task *task, Tg__Event *event)
{
    event->detail = pb_string(((const struct keks *)task)->detail);
}

static void rotate_answer(struct task *task)
{
    const struct keks *keks = (const struct keks *)task;
    Tg__KekRotateResponse response = TG__KEK_ROTATE_RESPONSE__INIT;
    response.kek_id = keks->newest;
    response.keys = keks->older;
    rpc_reply(task->call, &response.base);
}

/* ---- the calls ---- */

static void submit(struct rpc_call *call, const struct task_kind *kind)
{
    struct keks *keks = task_new(sizeof *keks, kind, rpc_call_context(call), call);
    if (keks != NULL)
        task_submit(&keks->task);
}

void handle_kek_list(struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct task_kind kind = {.apply = list_apply, .answer = list_answer};
    (void)message;
    submit(call, &kind);
}

void handle_kek_rotate(struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct task_kind kind = {.event = "kek.rotation_started",
                                          .unaudited = TG_UNAVAILABLE, /* asking again is harmless */
                                          .apply = rotate_apply,
                                          .describe = rotate_describe,
                                          .answer = rotate_answer};
    (void)message;
    submit(call, &kind);
}
