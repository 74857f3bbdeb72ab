/* Filling a shield: make keys for it, hand them to the charger. They cannot be spent before the charger has
 * confirmed that they are on the shield, so a fill that breaks off leaves nothing half-usable.
 *
 * Two sites: the charger has drawn the keys from its own KME and names them; they are adopted from ours
 * (adopt.h) instead of made, and only their tickets are handed out. */
#include "services/key-store/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/trace.h"

enum { KEY_LEN = AT_REST_KEY_LEN };

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
    return TG_OK;
}

static enum tg_code draw_keys(struct fill *fill, struct tg_error *err)
{
    struct source *source = fill->task.ks->source;
    size_t count = fill->request->count;
    fill->keys = secret_new(count * KEY_LEN);
    TG_ENSURE(fill->keys != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for %zu keys: ask for fewer, or raise locked_memory", count);
    return source->draw(source, fill->keys, err);
}

static enum tg_code make_key(struct fill *fill, size_t i, struct tg_error *err)
{
    const struct key_store *ks = fill->task.ks;
    uint8_t *key = secret_bytes(fill->keys) + i * KEY_LEN;
    struct ticket ticket = {.expires_s = fill->row.expires_s};
    memcpy(ticket.centre, ks->centre, sizeof ticket.centre);
    if (fill->adopts)
        memcpy(ticket.key_id, fill->adoption.ids[i], TICKET_KEY_ID_LEN);
    else
        ticket_new_key_id(ticket.key_id);
    memcpy(fill->sealed[i].key_id, ticket.key_id, TICKET_KEY_ID_LEN);
    const struct at_rest_name name = {AT_REST_QUANTUM_KEY, ticket.key_id, TICKET_KEY_ID_LEN};
    TG_TRY(at_rest_seal(ks->keyring, &name, key, &fill->sealed[i].key, err));
    ticket_encode(&ticket, ks->ticket_key, fill->tickets[i]);

    fill->entry_list[i] = &fill->entries[i];
    tg__fill_entry__init(&fill->entries[i]);
    fill->entries[i].ticket = pb_bytes(fill->tickets[i], TICKET_LEN);
    if (!fill->adopts)
        fill->entries[i].key = pb_bytes(key, KEY_LEN);
    return TG_OK;
}

/* Rows, tickets and answer for fill->keys. */
static enum tg_code make_rows(struct fill *fill, struct tg_error *err)
{
    const struct key_store *ks = fill->task.ks;
    fill->row.created_s = ks->now_s();
    fill->row.expires_s = fill->row.created_s + ks->key_lifetime_s;
    random_bytes(fill->row.id, sizeof fill->row.id);
    memcpy(fill->row.request_id, rpc_call_request_id(fill->task.call), REQUEST_ID_LEN);
    snprintf(fill->row.shield_id, sizeof fill->row.shield_id, "%s", fill->request->shield_id);
    TG_TRY(allocate(fill, err));
    for (size_t i = 0; i < fill->request->count; i++)
        TG_TRY(make_key(fill, i, err));
    return TG_OK;
}

/* ---- the transaction, and the answer ---- */

/* A KME that gives the same id twice, or a charger that names a key of an earlier fill. */
static enum tg_code check_new(const struct fill *fill, struct store *store, struct tg_error *err)
{
    struct store_key key;
    for (size_t i = 0; fill->adopts && i < fill->request->count; i++) {
        enum tg_code code = store->ops->key_find(store, fill->sealed[i].key_id, &key, err);
        TG_ENSURE(code != TG_OK, err, TG_FAILED_PRECONDITION, "a key of that id is here already: fill again");
        if (code != TG_NOT_FOUND)
            return code;
    }
    return TG_OK;
}

static enum tg_code renew_keys(struct fill *fill, struct tg_error *err)
{
    for (size_t i = 0; i < fill->request->count; i++) {
        const struct at_rest_name name = {AT_REST_QUANTUM_KEY, fill->sealed[i].key_id, TICKET_KEY_ID_LEN};
        TG_TRY(at_rest_renew(fill->task.ks->keyring, &name, &fill->sealed[i].key, err));
    }
    return TG_OK;
}

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
    struct store_fill made; /* by this very task, when the outcome of its first commit was not known? */
    code = store->ops->fill_find(store, fill->row.id, &made, err);
    if (code != TG_NOT_FOUND)
        return code;
    TG_TRY(check_new(fill, store, err));
    TG_TRY(renew_keys(fill, err));
    code = store->ops->fill_add(store, &fill->row, fill->sealed, request->count, err);
    TG_ENSURE(code != TG_ALREADY_EXISTS, err, TG_FAILED_PRECONDITION,
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
    free(fill->adoption.ids);
    free(fill->sealed);
    free(fill->tickets);
    free(fill->entries);
    free(fill->entry_list);
}

const struct task_kind fill_kind = {
    .event = "keys.made",
    .refused = "keys.refused",
    .unaudited = TG_ABORTED,
    .apply = fill_apply,
    .committed = fill_committed,
    .describe = fill_describe,
    .answer = fill_answer,
    .wipe = fill_wipe,
};

/* ---- where the keys come from ---- */

static void go_on(struct fill *fill, enum tg_code code, struct tg_error *err)
{
    if (code == TG_OK)
        code = make_rows(fill, err);
    if (code == TG_OK)
        task_submit(&fill->task);
    else
        task_refuse(&fill->task, code, err->text);
}

/* UNAVAILABLE would be tried again by the caller's RPC, and with it the login; but the KME gives keys once.
 */
static void adopted(struct adoption *adoption, enum tg_code code, const char *text)
{
    struct fill *fill = (struct fill *)((char *)adoption - offsetof(struct fill, adoption));
    struct tg_error err = {0};
    if (code != TG_OK)
        code = tg_fail(&err, code == TG_NOT_FOUND ? TG_FAILED_PRECONDITION : TG_ABORTED, "%s", text);
    fill->keys = adoption->keys;
    go_on(fill, code, &err);
}

void fill_get_keys(struct fill *fill)
{
    struct tg_error err = {0};
    if (fill->adopts) {
        uint32_t left_ms = rpc_call_remaining_ms(fill->task.call);
        fill->adoption.deadline_ms = clock_now_ms() + left_ms - left_ms / 4; /* the rest is for the store */
        adopter_add(fill->task.ks->adopter, &fill->adoption);
    } else {
        go_on(fill, draw_keys(fill, &err), &err);
    }
}

enum tg_code fill_prepare_adoption(struct fill *fill, struct tg_error *err)
{
    const Tg__FillRequest *request = fill->request;
    uint8_t(*ids)[TICKET_KEY_ID_LEN] = calloc(request->n_key_ids, sizeof *ids);
    TG_ENSURE(ids != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for %zu key ids", request->n_key_ids);
    for (size_t i = 0; i < request->n_key_ids; i++)
        memcpy(ids[i], request->key_ids[i].data, TICKET_KEY_ID_LEN);
    fill->adopts = true;
    fill->adoption = (struct adoption){.ids = ids, .count = request->n_key_ids, .done = adopted};
    return TG_OK;
}
