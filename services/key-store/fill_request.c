/* A charger's call: check it, log the user in through the RADIUS bridge, then fill. */
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "common/trace.h"
#include "common/utf8.h"
#include "proto/radius_bridge.pb-c.h"
#include "services/key-store/fill.h"

enum { REPLY_MAX = 160 };

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
    const char *trouble = audit_client_trouble(fill->task.ks->audit); /* a login may take a minute */
    secret_wipe(fill->request->password.data, fill->request->password.len);
    if (status != TG_OK)
        task_refuse(&fill->task, status, text);
    else if (trouble != NULL)
        task_refuse(&fill->task, TG_UNAVAILABLE, trouble);
    else if (judge((const Tg__LoginResponse *)response, &err) != TG_OK)
        task_refuse(&fill->task, err.code, err.text);
    else
        fill_get_keys(fill);
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

static enum tg_code check_key_ids(const struct key_store *ks, const Tg__FillRequest *request,
                                  struct tg_error *err)
{
    if (request->n_key_ids == 0)
        return TG_OK;
    TG_ENSURE(ks->adopter != NULL, err, TG_FAILED_PRECONDITION,
              "this key store adopts no keys: it has no kme with a master_sae");
    TG_ENSURE(request->n_key_ids == request->count, err, TG_INVALID_ARGUMENT, "%u keys, but %zu key ids",
              request->count, request->n_key_ids);
    for (size_t i = 0; i < request->n_key_ids; i++) {
        TG_ENSURE(request->key_ids[i].len == TICKET_KEY_ID_LEN, err, TG_INVALID_ARGUMENT,
                  "a key id has %d bytes", TICKET_KEY_ID_LEN);
        for (size_t j = 0; j < i; j++)
            TG_ENSURE(memcmp(request->key_ids[i].data, request->key_ids[j].data, TICKET_KEY_ID_LEN) != 0, err,
                      TG_INVALID_ARGUMENT, "a key id stands there twice");
    }
    return TG_OK;
}

static enum tg_code check_fill(const struct key_store *ks, const Tg__FillRequest *request,
                               struct tg_error *err)
{
    TG_TRY(name_check_id("shield id", request->shield_id, err));
    TG_TRY(name_check_text("user", request->user, err));
    TG_ENSURE(request->user[0] != '\0', err, TG_INVALID_ARGUMENT, "user is missing");
    TG_ENSURE(request->password.len >= 1 && request->password.len <= PASSWORD_MAX, err, TG_INVALID_ARGUMENT,
              "a password has 1 to %d bytes", PASSWORD_MAX);
    TG_ENSURE(request->count >= 1 && request->count <= FILL_MAX, err, TG_INVALID_ARGUMENT,
              "a fill makes 1 to %d keys, not %u", FILL_MAX, request->count);
    return check_key_ids(ks, request, err);
}

static enum tg_code prepare(struct fill *fill, const Tg__FillRequest *request, struct tg_error *err)
{
    const struct key_store *ks = fill->task.ks;
    bool adopts = request->n_key_ids > 0;
    fill->request = request;
    snprintf(fill->detail, sizeof fill->detail, "%u keys from %s", request->count,
             adopts ? adopter_name(ks->adopter) : ks->source->name);
    return adopts ? fill_prepare_adoption(fill, err) : TG_OK;
}

void handle_fill(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct key_store *ks = rpc_call_context(call);
    const Tg__FillRequest *request = (const Tg__FillRequest *)message;
    struct tg_error err;
    if (check_fill(ks, request, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    struct fill *fill = task_new(sizeof *fill, &fill_kind, ks, call);
    if (fill == NULL)
        return;
    if (prepare(fill, request, &err) != TG_OK)
        task_refuse(&fill->task, err.code, err.text);
    else
        log_in(fill);
}
