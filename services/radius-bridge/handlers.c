#include "common/log.h"
#include "common/pb.h"
#include "proto/radius_bridge.pb-c.h"
#include "services/radius-bridge/radius_bridge.h"

static void reply(struct rpc_call *call, const struct radius_answer *answer, const char *server)
{
    Tg__LoginResponse response = TG__LOGIN_RESPONSE__INIT;
    response.outcome = answer->outcome;
    response.reply_message = pb_string(answer->reply_message);
    response.session_timeout_s = answer->session_timeout_s;
    response.idle_timeout_s = answer->idle_timeout_s;
    response.filter_id = pb_string(answer->filter_id);
    response.klass = pb_bytes(answer->klass, answer->klass_len);
    response.echo = answer->echo;
    if (answer->outcome == TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE) {
        response.state = pb_bytes(answer->state, answer->state_len);
        response.server = pb_string(server);
    }
    rpc_reply(call, &response.base);
}

static const char *outcome_name(Tg__LoginResponse__Outcome outcome)
{
    if (outcome == TG__LOGIN_RESPONSE__OUTCOME__ACCEPT)
        return "accept";
    return outcome == TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE ? "challenge" : "reject";
}

static void login_done(void *arg, enum tg_code status, const char *text, const struct radius_answer *answer,
                       const char *server)
{
    struct rpc_call *call = arg;
    const Tg__LoginRequest *request = (const void *)rpc_call_request(call);
    if (status != TG_OK) {
        LOG(LOG_WARNING, rpc_call_trace(call), "radius.failed", LOG_TEXT("user", request->user),
            LOG_CODE(status), LOG_TEXT("error", text));
        rpc_fail(call, status, "%s", text);
        return;
    }
    LOG(LOG_INFO, rpc_call_trace(call), "radius.answer", LOG_TEXT("user", request->user),
        LOG_TEXT("outcome", outcome_name(answer->outcome)), LOG_TEXT("server", server));
    reply(call, answer, server);
}

static void login(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__LoginRequest *request = (const void *)message;
    const struct bridge *bridge = rpc_call_context(call);
    struct tg_error err = {0};
    if (radius_request_check(request, &err) != TG_OK)
        rpc_fail(call, err.code, "%s", err.text);
    else
        pool_ask(bridge->pool, request, rpc_call_remaining_ms(call), login_done, call);
}

const struct rpc_method bridge_methods[] = {
    {&tg__radius_bridge__descriptor, "Login", RPC_ROLE_GATEWAY | RPC_ROLE_SERVICE, login},
    {0},
};
