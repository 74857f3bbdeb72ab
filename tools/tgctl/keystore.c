/* tgctl qkud, shield, key: what the key store keeps. */
#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/pb.h"
#include "common/ticket.h"
#include "proto/key_store.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { ID_ROOM = 129 };

static enum tg_code call(const struct tgctl *ctl, const char *method, const ProtobufCMessage *request,
                         ProtobufCMessage **answer, struct tg_error *err)
{
    return tgctl_call(ctl, SERVICE_KEY_STORE, &tg__key_store__descriptor, method, request, answer, err);
}

/* Where the next page starts. */
struct place {
    char text[ID_ROOM];
    uint8_t key_id[TICKET_KEY_ID_LEN];
    bool more;
};

typedef enum tg_code list_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                               struct place *place, json_t *rows, struct tg_error *err);

static enum tgctl_exit list_all(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                                list_page *page, const struct table_column *columns)
{
    struct place place = {.more = true};
    json_t *rows = json_array();
    enum tg_code code = TG_OK;
    enum tgctl_exit shown;
    struct tg_error err;

    while (code == TG_OK && place.more)
        code = page(ctl, arguments, &place, rows, &err);
    shown = code == TG_OK ? table_print(ctl, columns, rows) : tgctl_failed(&err);
    json_decref(rows);
    return shown;
}

/* A command that changes something answers with one row: what it did to what. */
static enum tgctl_exit say(const struct tgctl *ctl, const char *what, const char *id, const char *number_name,
                           uint64_t number)
{
    const struct table_column columns[] = {{what, what}, {number_name, number_name}, {NULL, NULL}};
    json_t *row = json_object();

    row_text(row, what, id);
    if (number_name != NULL)
        row_number(row, number_name, number);
    return table_print_one(ctl, columns, row);
}

/* ---- qkud ---- */

/* The key is given out this once: make sure, before asking, that it can be written. */
static enum tg_code check_new_file(const char *path, struct tg_error *err)
{
    char copy[4096];

    TG_ENSURE(strlen(path) < sizeof(copy), err, TG_INVALID_ARGUMENT, "--out: the path is too long");
    TG_ENSURE(access(path, F_OK) != 0, err, TG_ALREADY_EXISTS,
              "--out: %s is there already; it stays as it is", path);
    snprintf(copy, sizeof(copy), "%s", path);
    TG_ENSURE(access(dirname(copy), W_OK) == 0, err, TG_PERMISSION_DENIED,
              "--out: cannot write to %s's directory: %s", path, strerror(errno));
    return TG_OK;
}

static enum tgctl_exit qkud_add(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__QkudAddRequest request = TG__QKUD_ADD_REQUEST__INIT;
    const char *out = arguments_option(arguments, "out");
    ProtobufCMessage *answer;
    struct tg_error err;
    enum tg_code code;

    if (out == NULL) {
        fprintf(stderr, "tgctl: qkud add needs --out FILE: where the gateway's key goes\n");
        return EXIT_USAGE;
    }
    if (check_new_file(out, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_OUTPUT;
    }
    request.qkud_id = pb_string(arguments->positional[0]);
    request.description = pb_string(arguments_option(arguments, "description"));
    if (call(ctl, "QkudAdd", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    const Tg__QkudAddResponse *added = (const Tg__QkudAddResponse *)answer;
    code = file_write_new(out, added->key.data, added->key.len, &err);
    rpc_free_response(answer);
    if (code != TG_OK) {
        fprintf(
            stderr,
            "tgctl: the key is lost, since it could not be written: %s. Revoke this QKUD and add another.\n",
            err.text);
        return EXIT_OUTPUT;
    }
    return say(ctl, "added", arguments->positional[0], NULL, 0);
}

static const struct table_column qkud_columns[] = {
    {"qkud_id", "QKUD"}, {"description", "DESCRIPTION"}, {"created", "CREATED"}, {"revoked", "REVOKED"},
    {NULL, NULL},
};

static enum tg_code qkud_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                              struct place *place, json_t *rows, struct tg_error *err)
{
    Tg__QkudListRequest request = TG__QKUD_LIST_REQUEST__INIT;
    ProtobufCMessage *answer;

    (void)arguments;
    request.after_qkud_id = place->text;
    TG_TRY(call(ctl, "QkudList", &request.base, &answer, err));
    const Tg__QkudListResponse *page = (const Tg__QkudListResponse *)answer;
    for (size_t i = 0; i < page->n_qkuds; i++) {
        const Tg__Qkud *qkud = page->qkuds[i];
        json_t *row = json_object();

        row_text(row, "qkud_id", qkud->qkud_id);
        row_text(row, "description", qkud->description);
        row_time(row, "created", qkud->created_s);
        row_flag(row, "revoked", qkud->revoked);
        json_array_append_new(rows, row);
        snprintf(place->text, sizeof(place->text), "%s", qkud->qkud_id);
    }
    place->more = page->more && page->n_qkuds > 0;
    rpc_free_response(answer);
    return TG_OK;
}

static enum tgctl_exit qkud_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    return list_all(ctl, arguments, qkud_page, qkud_columns);
}

static enum tgctl_exit qkud_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__QkudRevokeRequest request = TG__QKUD_REVOKE_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;

    request.qkud_id = pb_string(arguments->positional[0]);
    if (call(ctl, "QkudRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return say(ctl, "revoked", arguments->positional[0], NULL, 0);
}

/* ---- shield ---- */

static enum tgctl_exit shield_add(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__ShieldAddRequest request = TG__SHIELD_ADD_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;

    request.shield_id = pb_string(arguments->positional[0]);
    request.owner = pb_string(arguments_option(arguments, "owner"));
    request.policy = pb_string(arguments_option(arguments, "policy"));
    if (call(ctl, "ShieldAdd", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return say(ctl, "added", arguments->positional[0], NULL, 0);
}

static const struct table_column shield_columns[] = {
    {"shield_id", "SHIELD"}, {"owner", "OWNER"},     {"policy", "POLICY"},
    {"created", "CREATED"},  {"revoked", "REVOKED"}, {"made", "MADE"},
    {"ready", "READY"},      {"spent", "SPENT"},     {NULL, NULL},
};

static json_t *shield_row(const Tg__Shield *shield)
{
    json_t *row = json_object();

    row_text(row, "shield_id", shield->shield_id);
    row_text(row, "owner", shield->owner);
    row_text(row, "policy", shield->policy);
    row_time(row, "created", shield->created_s);
    row_flag(row, "revoked", shield->revoked);
    row_number(row, "made", shield->made);
    row_number(row, "ready", shield->ready);
    row_number(row, "spent", shield->spent);
    return row;
}

static enum tg_code shield_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                                struct place *place, json_t *rows, struct tg_error *err)
{
    Tg__ShieldListRequest request = TG__SHIELD_LIST_REQUEST__INIT;
    ProtobufCMessage *answer;

    (void)arguments;
    request.after_shield_id = place->text;
    TG_TRY(call(ctl, "ShieldList", &request.base, &answer, err));
    const Tg__ShieldListResponse *page = (const Tg__ShieldListResponse *)answer;
    for (size_t i = 0; i < page->n_shields; i++) {
        json_array_append_new(rows, shield_row(page->shields[i]));
        snprintf(place->text, sizeof(place->text), "%s", page->shields[i]->shield_id);
    }
    place->more = page->more && page->n_shields > 0;
    rpc_free_response(answer);
    return TG_OK;
}

static enum tgctl_exit shield_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    return list_all(ctl, arguments, shield_page, shield_columns);
}

static enum tgctl_exit shield_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__ShieldRevokeRequest request = TG__SHIELD_REVOKE_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;
    uint32_t keys;

    request.shield_id = pb_string(arguments->positional[0]);
    if (call(ctl, "ShieldRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    keys = ((const Tg__ShieldRevokeResponse *)answer)->keys_revoked;
    rpc_free_response(answer);
    return say(ctl, "revoked", arguments->positional[0], "keys", keys);
}

/* ---- key ---- */

static const struct table_column key_columns[] = {
    {"key_id", "KEY"},      {"shield_id", "SHIELD"}, {"state", "STATE"},       {"created", "CREATED"},
    {"expires", "EXPIRES"}, {"spent", "SPENT"},      {"spent_by", "SPENT BY"}, {NULL, NULL},
};

static json_t *key_row(const Tg__Key *key)
{
    json_t *row = json_object();
    char id[37] = "";

    if (key->key_id.len == TICKET_KEY_ID_LEN)
        ticket_key_id_text(key->key_id.data, id);
    row_text(row, "key_id", id);
    row_text(row, "shield_id", key->shield_id);
    row_text(row, "state", key->state);
    row_time(row, "created", key->created_s);
    row_time(row, "expires", key->expires_s);
    row_time(row, "spent", key->spent_s);
    row_text(row, "spent_by", key->spent_by);
    return row;
}

static enum tg_code key_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                             struct place *place, json_t *rows, struct tg_error *err)
{
    Tg__KeyListRequest request = TG__KEY_LIST_REQUEST__INIT;
    ProtobufCMessage *answer;

    request.shield_id = pb_string(arguments_option(arguments, "shield"));
    request.state = pb_string(arguments_option(arguments, "state"));
    if (place->text[0] != '\0')
        request.after_key_id = pb_bytes(place->key_id, sizeof(place->key_id));
    request.limit = 500;
    TG_TRY(call(ctl, "KeyList", &request.base, &answer, err));
    const Tg__KeyListResponse *page = (const Tg__KeyListResponse *)answer;
    for (size_t i = 0; i < page->n_keys; i++)
        json_array_append_new(rows, key_row(page->keys[i]));
    place->more =
        page->more && page->n_keys > 0 && page->keys[page->n_keys - 1]->key_id.len == TICKET_KEY_ID_LEN;
    if (place->more) {
        memcpy(place->key_id, page->keys[page->n_keys - 1]->key_id.data, TICKET_KEY_ID_LEN);
        snprintf(place->text, sizeof(place->text), "after");
    }
    rpc_free_response(answer);
    return TG_OK;
}

static enum tgctl_exit key_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    return list_all(ctl, arguments, key_page, key_columns);
}

/* A whole ticket in its text form, or a key id as the lists show it. */
static enum tg_code name_key(const char *text, Tg__KeyRevokeRequest *request, uint8_t ticket[TICKET_LEN],
                             uint8_t key_id[TICKET_KEY_ID_LEN], struct tg_error *err)
{
    if (strncmp(text, "tgt1.", 5) == 0) {
        TG_TRY(ticket_from_text(text, ticket, err));
        request->ticket = pb_bytes(ticket, TICKET_LEN);
        return TG_OK;
    }
    TG_ENSURE(ticket_key_id_from_text(text, key_id, NULL) == TG_OK, err, TG_INVALID_ARGUMENT,
              "%s is neither a ticket (tgt1....) nor a key id", text);
    request->key_id = pb_bytes(key_id, TICKET_KEY_ID_LEN);
    return TG_OK;
}

static enum tgctl_exit key_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__KeyRevokeRequest request = TG__KEY_REVOKE_REQUEST__INIT;
    uint8_t ticket[TICKET_LEN];
    uint8_t key_id[TICKET_KEY_ID_LEN];
    ProtobufCMessage *answer;
    struct tg_error err;

    if (name_key(arguments->positional[0], &request, ticket, key_id, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (call(ctl, "KeyRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return say(ctl, "revoked", arguments->positional[0], NULL, 0);
}

/* ---- the table ---- */

static const struct tgctl_option qkud_add_options[] = {
    {"out", "FILE", "where its key goes, given out this once (must not exist; made with mode 0600)"},
    {"description", "TEXT", "for people"},
    {NULL, NULL, NULL},
};
static const struct tgctl_option shield_add_options[] = {
    {"owner", "USER", "the only RADIUS user who can log in with this shield (default: anybody)"},
    {"policy", "POLICY", "where its user may go when RADIUS names no policy"},
    {NULL, NULL, NULL},
};
static const struct tgctl_option key_list_options[] = {
    {"shield", "SHIELD", "only keys of this shield"},
    {"state", "STATE", "only keys in this state: made, ready, spent, revoked or expired"},
    {NULL, NULL, NULL},
};

const struct tgctl_command keystore_commands[] = {
    {"qkud", "add", {"QKUD"}, qkud_add_options, "register a gateway and get its key", qkud_add},
    {"qkud", "list", {NULL}, NULL, "registered gateways", qkud_list},
    {"qkud", "revoke", {"QKUD"}, NULL, "give no more keys to a gateway", qkud_revoke},
    {"shield", "add", {"SHIELD"}, shield_add_options, "register a shield", shield_add},
    {"shield", "list", {NULL}, NULL, "registered shields and how many keys they have", shield_list},
    {"shield", "revoke", {"SHIELD"}, NULL, "revoke a shield and all its keys", shield_revoke},
    {"key", "list", {NULL}, key_list_options, "keys and their states", key_list},
    {"key", "revoke", {"KEY"}, NULL, "revoke one key, by its id or its whole ticket", key_revoke},
    {.group = NULL},
};
