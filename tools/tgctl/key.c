/* tgctl key: single keys, by their ids or tickets. */
#include <string.h>

#include "common/pb.h"
#include "tools/tgctl/keystore.h"

/* ---- list ---- */

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
    request.owner = pb_string(arguments_option(arguments, "owner"));
    TG_TRY(arguments_deadline(arguments, "expires-before", &request.expires_before_s, err));
    if (place->text[0] != '\0')
        request.after_key_id = pb_bytes(place->key_id, sizeof(place->key_id));
    request.limit = 500;
    TG_TRY(keystore_call(ctl, "KeyList", &request.base, &answer, err));
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
    uint64_t before_s;
    struct tg_error err;

    if (arguments_deadline(arguments, "expires-before", &before_s, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    return keystore_list(ctl, arguments, key_page, key_columns);
}

/* A whole ticket in its text form, or a key id as the lists show it. */
struct named_key {
    ProtobufCBinaryData key_id, ticket; /* one of the two; the other is empty */
    uint8_t bytes[TICKET_LEN];
};

static enum tg_code name_key(const char *text, struct named_key *key, struct tg_error *err)
{
    *key = (struct named_key){0};
    if (strncmp(text, "tgt1.", 5) == 0) {
        TG_TRY(ticket_from_text(text, key->bytes, err));
        key->ticket = pb_bytes(key->bytes, TICKET_LEN);
        return TG_OK;
    }
    TG_ENSURE(ticket_key_id_from_text(text, key->bytes, NULL) == TG_OK, err, TG_INVALID_ARGUMENT,
              "%s is neither a ticket (tgt1....) nor a key id", text);
    key->key_id = pb_bytes(key->bytes, TICKET_KEY_ID_LEN);
    return TG_OK;
}

/* ---- find ---- */

static const struct table_column find_columns[] = {
    {"key_id", "KEY"},      {"shield_id", "SHIELD"},
    {"owner", "OWNER"},     {"policy", "POLICY"},
    {"state", "STATE"},     {"shield_revoked", "SHIELD REVOKED"},
    {"created", "CREATED"}, {"expires", "EXPIRES"},
    {"spent", "SPENT"},     {"spent_by", "SPENT BY"},
    {NULL, NULL},
};

static enum tgctl_exit key_find(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__KeyFindRequest request = TG__KEY_FIND_REQUEST__INIT;
    struct named_key key;
    ProtobufCMessage *answer;
    struct tg_error err;

    if (name_key(arguments->positional[0], &key, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    request.key_id = key.key_id;
    request.ticket = key.ticket;
    if (keystore_call(ctl, "KeyFind", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    const Tg__KeyFindResponse *found = (const Tg__KeyFindResponse *)answer;
    if (found->key == NULL) {
        rpc_free_response(answer);
        fprintf(stderr, "tgctl: the key store's answer names no key\n");
        return EXIT_NO;
    }
    json_t *row = key_row(found->key);
    row_text(row, "owner", found->owner);
    row_text(row, "policy", found->policy);
    row_flag(row, "shield_revoked", found->shield_revoked);
    rpc_free_response(answer);
    return table_print_one(ctl, find_columns, row);
}

/* ---- revoke ---- */

static enum tgctl_exit key_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__KeyRevokeRequest request = TG__KEY_REVOKE_REQUEST__INIT;
    struct named_key key;
    ProtobufCMessage *answer;
    struct tg_error err;

    if (name_key(arguments->positional[0], &key, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (!keystore_confirmed(ctl, arguments, "Revoke key %s and destroy it.", arguments->positional[0]))
        return EXIT_NO;
    request.key_id = key.key_id;
    request.ticket = key.ticket;
    if (keystore_call(ctl, "KeyRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return keystore_say(ctl, "revoked", arguments->positional[0], NULL, 0);
}

/* ---- the table ---- */

static const struct tgctl_option list_options[] = {
    {"shield", "SHIELD", "only keys of this shield"},
    {"owner", "USER", "only keys of this user's shields"},
    {"state", "STATE", "only keys in this state: made, ready, spent, revoked or expired"},
    {"expires-before", "TIME",
     "only keys that expire before then: 2026-11-22, 2026-11-22T20:14Z, or in how long: 7d"},
    {NULL, NULL, NULL},
};
static const struct tgctl_option revoke_options[] = {KEYSTORE_YES, {NULL, NULL, NULL}};

const struct tgctl_command key_commands[] = {
    {"key", "list", {NULL}, list_options, "keys and their states", key_list},
    {"key", "find", {"KEY"}, NULL, "one key, by its id or its whole ticket", key_find},
    {"key", "revoke", {"KEY"}, revoke_options, "revoke one key, by its id or its whole ticket", key_revoke},
    {.group = NULL},
};
