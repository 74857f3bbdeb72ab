/* tgctl qkud, shield: whom the key store knows. */
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/file.h"
#include "common/pb.h"
#include "tools/tgctl/keystore.h"

enum tg_code keystore_call(const struct tgctl *ctl, const char *method, const ProtobufCMessage *request,
                           ProtobufCMessage **answer, struct tg_error *err)
{
    return tgctl_call(ctl, SERVICE_KEY_STORE, &tg__key_store__descriptor, method, request, answer, err);
}

enum tgctl_exit keystore_list(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
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

enum tgctl_exit keystore_say(const struct tgctl *ctl, const char *what, const char *id,
                             const char *number_name, uint64_t number)
{
    const struct table_column columns[] = {{what, what}, {number_name, number_name}, {NULL, NULL}};
    json_t *row = json_object();

    row_text(row, what, id);
    if (number_name != NULL)
        row_number(row, number_name, number);
    return table_print_one(ctl, columns, row);
}

bool keystore_confirmed(const struct tgctl *ctl, const struct tgctl_arguments *arguments, const char *fmt,
                        ...)
{
    char line[16];
    va_list args;

    if (arguments_option(arguments, "yes") != NULL || ctl->in == NULL || !isatty(fileno(ctl->in)))
        return true;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs(" This cannot be undone. Go on? [y/N] ", stderr);
    if (fgets(line, sizeof(line), ctl->in) != NULL &&
        (strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0))
        return true;
    fputs("tgctl: nothing was done\n", stderr);
    return false;
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
    if (keystore_call(ctl, "QkudAdd", &request.base, &answer, &err) != TG_OK)
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
    return keystore_say(ctl, "added", arguments->positional[0], NULL, 0);
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
    TG_TRY(keystore_call(ctl, "QkudList", &request.base, &answer, err));
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
    return keystore_list(ctl, arguments, qkud_page, qkud_columns);
}

static enum tgctl_exit qkud_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__QkudRevokeRequest request = TG__QKUD_REVOKE_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;

    if (!keystore_confirmed(ctl, arguments, "Give no more keys to gateway %s.", arguments->positional[0]))
        return EXIT_NO;
    request.qkud_id = pb_string(arguments->positional[0]);
    if (keystore_call(ctl, "QkudRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return keystore_say(ctl, "revoked", arguments->positional[0], NULL, 0);
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
    if (keystore_call(ctl, "ShieldAdd", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    rpc_free_response(answer);
    return keystore_say(ctl, "added", arguments->positional[0], NULL, 0);
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

/* Shields are few: every page is read, and what was not asked for is left out here. */
struct shield_filter {
    const char *owner, *prefix;
    uint32_t fewer_than; /* ready keys; 0: all */
    bool active, revoked;
};

static enum tg_code read_shield_filter(const struct tgctl_arguments *arguments, struct shield_filter *filter,
                                       struct tg_error *err)
{
    const char *state = arguments_option(arguments, "state");

    filter->owner = arguments_option(arguments, "owner");
    filter->prefix = arguments_option(arguments, "prefix");
    filter->active = state == NULL || strcmp(state, "active") == 0;
    filter->revoked = state == NULL || strcmp(state, "revoked") == 0;
    TG_ENSURE(filter->active || filter->revoked, err, TG_INVALID_ARGUMENT,
              "--state: a shield is active or revoked, not %s", state);
    return arguments_number(arguments, "fewer-than", UINT32_MAX, &filter->fewer_than, err);
}

static bool shield_matches(const struct shield_filter *filter, const Tg__Shield *shield)
{
    return (filter->owner == NULL || strcmp(filter->owner, shield->owner) == 0) &&
           (filter->prefix == NULL ||
            strncmp(shield->shield_id, filter->prefix, strlen(filter->prefix)) == 0) &&
           (filter->fewer_than == 0 || shield->ready < filter->fewer_than) &&
           (shield->revoked ? filter->revoked : filter->active);
}

static enum tg_code shield_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                                struct place *place, json_t *rows, struct tg_error *err)
{
    Tg__ShieldListRequest request = TG__SHIELD_LIST_REQUEST__INIT;
    struct shield_filter filter;
    ProtobufCMessage *answer;

    TG_TRY(read_shield_filter(arguments, &filter, err));
    request.after_shield_id = place->text;
    TG_TRY(keystore_call(ctl, "ShieldList", &request.base, &answer, err));
    const Tg__ShieldListResponse *page = (const Tg__ShieldListResponse *)answer;
    for (size_t i = 0; i < page->n_shields; i++) {
        if (shield_matches(&filter, page->shields[i]))
            json_array_append_new(rows, shield_row(page->shields[i]));
        snprintf(place->text, sizeof(place->text), "%s", page->shields[i]->shield_id);
    }
    place->more = page->more && page->n_shields > 0;
    rpc_free_response(answer);
    return TG_OK;
}

static enum tgctl_exit shield_list(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    struct shield_filter filter;
    struct tg_error err;

    if (read_shield_filter(arguments, &filter, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    return keystore_list(ctl, arguments, shield_page, shield_columns);
}

static enum tgctl_exit shield_revoke(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__ShieldRevokeRequest request = TG__SHIELD_REVOKE_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;
    uint32_t keys;

    if (!keystore_confirmed(ctl, arguments, "Revoke shield %s and destroy all its keys.",
                            arguments->positional[0]))
        return EXIT_NO;
    request.shield_id = pb_string(arguments->positional[0]);
    if (keystore_call(ctl, "ShieldRevoke", &request.base, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    keys = ((const Tg__ShieldRevokeResponse *)answer)->keys_revoked;
    rpc_free_response(answer);
    return keystore_say(ctl, "revoked", arguments->positional[0], "keys", keys);
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
static const struct tgctl_option shield_list_options[] = {
    {"owner", "USER", "only shields of this user"},
    {"prefix", "TEXT", "only shields whose id begins so"},
    {"state", "STATE", "only active or only revoked ones"},
    {"fewer-than", "N", "only shields with fewer than N keys that can be spent"},
    {NULL, NULL, NULL},
};
static const struct tgctl_option revoke_options[] = {KEYSTORE_YES, {NULL, NULL, NULL}};

const struct tgctl_command keystore_commands[] = {
    {"qkud", "add", {"QKUD"}, qkud_add_options, "register a gateway and get its key", qkud_add},
    {"qkud", "list", {NULL}, NULL, "registered gateways", qkud_list},
    {"qkud", "revoke", {"QKUD"}, revoke_options, "give no more keys to a gateway", qkud_revoke},
    {"shield", "add", {"SHIELD"}, shield_add_options, "register a shield", shield_add},
    {"shield",
     "list",
     {NULL},
     shield_list_options,
     "registered shields and how many keys they have",
     shield_list},
    {"shield", "revoke", {"SHIELD"}, revoke_options, "revoke a shield and all its keys", shield_revoke},
    {.group = NULL},
};
