/* tgctl kek: the key store's key-encryption keys. */
#include <inttypes.h>
#include <time.h>

#include "common/pb.h"
#include "proto/key_store.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { POLL_MS = 1000, HELD_UP_MAX = 10 };

static enum tg_code call(const struct tgctl *ctl, const char *method, const ProtobufCMessage *request,
                         ProtobufCMessage **answer, struct tg_error *err)
{
    return tgctl_call(ctl, SERVICE_KEY_STORE, &tg__key_store__descriptor, method, request, answer, err);
}

static enum tg_code get_list(const struct tgctl *ctl, Tg__KekListResponse **list, struct tg_error *err)
{
    Tg__KekListRequest request = TG__KEK_LIST_REQUEST__INIT;
    ProtobufCMessage *answer;

    TG_TRY(call(ctl, "KekList", &request.base, &answer, err));
    *list = (Tg__KekListResponse *)answer;
    return TG_OK;
}

/* ---- list ---- */

static const struct table_column list_columns[] = {
    {"kek_id", "KEK"},
    {"place", "PLACE"},
    {"keys", "KEYS"},
    {"newest", "NEWEST"},
    {"removable", "CAN BE REMOVED"},
    {"rotation", "ROTATION"},
    {NULL, NULL},
};

/* Of what an older KEK still wraps. */
static const char *rotation_of(const Tg__KekListResponse *list, const Tg__Kek *kek)
{
    if (!list->rotating || kek->newest || kek->keys == 0)
        return "";
    return list->problem[0] != '\0' ? list->problem : "under way";
}

static enum tgctl_exit kek_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__KekListResponse *list;
    json_t *rows = json_array();
    enum tgctl_exit shown;
    struct tg_error err;

    (void)arguments;
    if (get_list(ctl, &list, &err) != TG_OK) {
        json_decref(rows);
        return tgctl_failed(&err);
    }
    for (size_t i = 0; i < list->n_keks; i++) {
        json_t *row = json_object();

        row_number(row, "kek_id", list->keks[i]->kek_id);
        row_text(row, "place", list->keks[i]->place);
        row_number(row, "keys", list->keks[i]->keys);
        row_flag(row, "newest", list->keks[i]->newest);
        row_flag(row, "removable", list->keks[i]->removable);
        row_text(row, "rotation", rotation_of(list, list->keks[i]));
        json_array_append_new(rows, row);
    }
    rpc_free_response(&list->base);
    shown = table_print(ctl, list_columns, rows);
    json_decref(rows);
    return shown;
}

/* ---- rotate ---- */

static uint64_t left(const Tg__KekListResponse *list)
{
    uint64_t keys = 0;

    for (size_t i = 0; i < list->n_keks; i++)
        keys += list->keks[i]->newest ? 0 : list->keks[i]->keys;
    return keys;
}

/* What holds it up may pass: only when it stays is it given up (here: the key store goes on trying). */
static enum tg_code say_progress(const Tg__KekListResponse *list, unsigned *held_up, struct tg_error *err)
{
    bool problem = list->problem[0] != '\0';

    *held_up = problem ? *held_up + 1 : 0;
    TG_ENSURE(*held_up < HELD_UP_MAX, err, TG_ABORTED, "the rotation is held up: %s", list->problem);
    if (list->rotating)
        fprintf(stderr, "tgctl: %" PRIu64 " keys are left%s%s\n", left(list), problem ? ", held up: " : "",
                list->problem);
    return TG_OK;
}

static enum tg_code wait_for_end(const struct tgctl *ctl, struct tg_error *err)
{
    const struct timespec pause = {.tv_sec = POLL_MS / 1000, .tv_nsec = POLL_MS % 1000 * 1000000L};
    Tg__KekListResponse *list;
    unsigned held_up = 0;
    bool rotating;

    for (;;) {
        TG_TRY(get_list(ctl, &list, err));
        enum tg_code code = say_progress(list, &held_up, err);

        rotating = list->rotating;
        rpc_free_response(&list->base);
        if (code != TG_OK || !rotating)
            return code;
        nanosleep(&pause, NULL);
    }
}

static enum tgctl_exit kek_rotate(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    static const struct table_column columns[] = {
        {"kek_id", "TO KEK"}, {"keys", "KEYS"}, {"done", "DONE"}, {NULL, NULL}};
    Tg__KekRotateRequest request = TG__KEK_ROTATE_REQUEST__INIT;
    bool wait = arguments_option(arguments, "wait") != NULL;
    ProtobufCMessage *answer;
    json_t *row = json_object();
    struct tg_error err = {.code = TG_OK};

    if (call(ctl, "KekRotate", &request.base, &answer, &err) == TG_OK) {
        row_number(row, "kek_id", ((const Tg__KekRotateResponse *)answer)->kek_id);
        row_number(row, "keys", ((const Tg__KekRotateResponse *)answer)->keys);
        row_flag(row, "done", wait);
        rpc_free_response(answer);
    }
    if (err.code != TG_OK || (wait && wait_for_end(ctl, &err) != TG_OK)) {
        json_decref(row);
        return tgctl_failed(&err);
    }
    return table_print_one(ctl, columns, row);
}

/* ---- the table ---- */

static const struct tgctl_option rotate_options[] = {
    {"wait", NULL, "until all is rewrapped, saying how much is left"},
    {NULL, NULL, NULL},
};

const struct tgctl_command kek_commands[] = {
    {"kek", "list", {NULL}, NULL, "key-encryption keys, and which can be removed", kek_list},
    {"kek",
     "rotate",
     {NULL},
     rotate_options,
     "wrap all keys anew under the newest KEK, in the background",
     kek_rotate},
    {.group = NULL},
};
