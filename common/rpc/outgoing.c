/* The life of one outgoing call: attempts (send, wait for the answer), pauses between them, one end.
 *
 * Each of its three aios has one job. nng 1.5.2 demands that: an aio that once slept reports success when a
 * later timeout strikes, and a send aio must be done before its receive begins (nng #1702). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/rpc/client.h"

enum {
    CONNECT_WAIT_MS = 250, /* for a connection: an even share of the time left, but within these bounds */
    CONNECT_WAIT_MAX_MS = 1500,
    BACKOFF_FIRST_MS = 50, /* doubled with each attempt; the pause is a random part of it ("full jitter") */
    REFUSAL_MS = 5,
    VERDICT_MIN_MS = 100 /* a caller in more of a hurry than this proves nothing about the server */
};

static const char PAUSED_TEXT[] = RPC_RESTING;

struct rpc_outgoing {
    struct rpc_client *client;
    nng_aio *send;
    nng_aio *receive;
    nng_aio *pause;
    struct rpc_outgoing *next_free;
    struct rpc_outgoing *next; /* of all */

    /* the call */
    struct rpc_route route;
    uint8_t request_id[REQUEST_ID_LEN];
    char trace[TRACE_HEX_LEN + 1];
    uint8_t *payload;
    size_t payload_len;
    uint64_t deadline_ms;
    bool idempotent;
    bool keep;
    rpc_done *done;
    void *arg;

    /* the attempt */
    unsigned attempts;
    struct rpc_endpoint *endpoint;
    struct rpc_attempt attempt;
    uint64_t sent_ms;
    bool perhaps_processed; /* some attempt was sent and its answer lost */
    bool refused;
};

static void attempt(struct rpc_outgoing *call);

/* ---- the end ---- */

static void release(struct rpc_outgoing *call)
{
    struct rpc_client *client = call->client;
    pb_buffer_free(call->payload, call->payload_len);
    call->payload = NULL;
    pthread_mutex_lock(&client->lock);
    call->next_free = client->free_calls;
    client->free_calls = call;
    if (--client->active == 0)
        pthread_cond_broadcast(&client->idle);
    pthread_mutex_unlock(&client->lock);
}

static void finish(struct rpc_outgoing *call, enum tg_code status, const char *text,
                   ProtobufCMessage *response)
{
    char full[RPC_TEXT_MAX];
    snprintf(full, sizeof full, "%s: %s", call->client->name, text);
    call->done(call->arg, status, status == TG_OK ? "" : full, response);
    if (!call->keep)
        pb_free(response);
    release(call);
}

/* ---- trying again ---- */

static uint32_t remaining_ms(const struct rpc_outgoing *call)
{
    uint64_t now = clock_now_ms();
    return now < call->deadline_ms ? (uint32_t)(call->deadline_ms - now) : 0;
}

static uint32_t jitter(unsigned attempts)
{
    uint32_t random = 0;
    random_bytes(&random, sizeof random);
    return random % ((uint32_t)BACKOFF_FIRST_MS << (attempts - 1));
}

static bool account(struct rpc_outgoing *call, bool success)
{
    struct rpc_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    if (success)
        throttle_success(&client->throttle);
    else
        throttle_failure(&client->throttle);
    bool may_retry = !client->closing && throttle_allows(&client->throttle);
    pthread_mutex_unlock(&client->lock);
    return may_retry;
}

static void on_paused(void *arg)
{
    struct rpc_outgoing *call = arg;
    if (call->refused)
        finish(call, call->perhaps_processed ? TG_UNKNOWN : TG_UNAVAILABLE, PAUSED_TEXT, NULL);
    else
        attempt(call);
}

/* Made when it is first needed: most calls never pause. */
static bool have_pause(struct rpc_outgoing *call)
{
    if (call->pause != NULL)
        return true;
    nng_aio *pause = NULL;
    if (nng_aio_alloc(&pause, on_paused, call) != 0)
        return false;
    pthread_mutex_lock(&call->client->lock); /* closing looks at it */
    call->pause = pause;
    pthread_mutex_unlock(&call->client->lock);
    return true;
}

static bool pause_then_try_again(struct rpc_outgoing *call)
{
    uint32_t pause = jitter(call->attempts);
    if (call->attempts >= RPC_ATTEMPTS_MAX || pause >= remaining_ms(call) || !have_pause(call))
        return false;
    nng_sleep_aio((nng_duration)pause, call->pause);
    return true;
}

/* No endpoint may be called now. The caller is told from another stack than its own, and not at once: one
 * that calls again and again must neither fall through its stack nor spin. */
static void refuse(struct rpc_outgoing *call)
{
    if (account(call, false) && pause_then_try_again(call))
        return;
    call->refused = true;
    if (have_pause(call))
        nng_sleep_aio(REFUSAL_MS, call->pause);
    else
        on_paused(call);
}

/* UNAVAILABLE: this attempt was never processed. UNKNOWN: it may have been. A call of which any attempt may
 * have been processed must not end as UNAVAILABLE. */
static void fail(struct rpc_outgoing *call, enum tg_code code, const char *text)
{
    bool may_retry = account(call, false);
    if (code == TG_UNKNOWN)
        call->perhaps_processed = true;
    if ((code == TG_UNAVAILABLE || call->idempotent) && may_retry && pause_then_try_again(call))
        return;
    finish(call, call->perhaps_processed ? TG_UNKNOWN : code, text, NULL);
}

/* ---- one attempt ---- */

static void give_back(struct rpc_outgoing *call, enum attempt_result result)
{
    rpc_endpoint_end(call->endpoint, &call->attempt, result);
}

static void failf(struct rpc_outgoing *call, enum tg_code code, const char *fmt, ...) TG_PRINTF(3, 4);
static void failf(struct rpc_outgoing *call, enum tg_code code, const char *fmt, ...)
{
    char text[RPC_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fail(call, code, text);
}

static void take_answer(struct rpc_outgoing *call, nng_msg *message)
{
    struct rpc_answer answer;
    struct tg_error err;
    enum tg_code code =
        rpc_answer_decode(call->route.output, nng_msg_body(message), nng_msg_len(message), &answer, &err);
    rpc_message_free(message);
    bool unavailable = code == TG_OK && answer.status == TG_UNAVAILABLE;
    give_back(call, unavailable ? ATTEMPT_FAILED : ATTEMPT_ANSWERED);
    if (unavailable) {
        fail(call, TG_UNAVAILABLE, answer.text);
        return;
    }
    (void)account(call, true);
    if (code != TG_OK)
        finish(call, TG_DATA_LOSS, err.text, NULL);
    else
        finish(call, answer.status, answer.text, answer.response);
}

static void take_timeout(struct rpc_outgoing *call)
{
    bool in_a_hurry = clock_now_ms() - call->sent_ms < VERDICT_MIN_MS;
    give_back(call, in_a_hurry ? ATTEMPT_WITHOUT_VERDICT : ATTEMPT_SILENT);
    (void)account(call, false);
    char text[RPC_TEXT_MAX];
    snprintf(text, sizeof text, "no answer from %s in time", call->endpoint->address);
    finish(call, TG_DEADLINE_EXCEEDED, text, NULL);
}

static void on_received(void *arg)
{
    struct rpc_outgoing *call = arg;
    int rv = nng_aio_result(call->receive);
    if (rv == 0) {
        take_answer(call, nng_aio_get_msg(call->receive));
    } else if (rv == NNG_ECANCELED) {
        give_back(call, ATTEMPT_WITHOUT_VERDICT);
        finish(call, TG_CANCELLED, "the client was closed", NULL);
    } else if (rv == NNG_ETIMEDOUT && remaining_ms(call) == 0) {
        take_timeout(call);
    } else {
        give_back(call, ATTEMPT_FAILED);
        failf(call, TG_UNKNOWN, "connection to %s lost before the answer came: %s", call->endpoint->address,
              nng_strerror(rv));
    }
}

static void on_sent(void *arg)
{
    struct rpc_outgoing *call = arg;
    int rv = nng_aio_result(call->send);
    if (rv == 0) {
        uint32_t left = remaining_ms(call);
        nng_aio_set_timeout(call->receive, left > 0 ? (nng_duration)left : 1);
        nng_ctx_recv(call->attempt.ctx, call->receive);
        return;
    }
    rpc_message_free(nng_aio_get_msg(call->send));
    if (rv == NNG_ECANCELED) {
        give_back(call, ATTEMPT_WITHOUT_VERDICT);
        finish(call, TG_CANCELLED, "the client was closed", NULL);
        return;
    }
    give_back(call, ATTEMPT_SILENT);
    failf(call, TG_UNAVAILABLE, "no connection to %s", call->endpoint->address);
}

/* Long enough for a first connection on a busy machine, short enough that every attempt gets its turn. */
static uint32_t connect_wait_ms(uint32_t left)
{
    uint32_t share = left / RPC_ATTEMPTS_MAX;
    if (share < CONNECT_WAIT_MS)
        share = CONNECT_WAIT_MS;
    if (share > CONNECT_WAIT_MAX_MS)
        share = CONNECT_WAIT_MAX_MS;
    return left < share ? left : share;
}

static void send_attempt(struct rpc_outgoing *call, uint32_t left)
{
    nng_msg *message = rpc_request_encode(call->route.name, call->request_id, call->trace, left,
                                          call->payload, call->payload_len);
    if (message == NULL) {
        give_back(call, ATTEMPT_WITHOUT_VERDICT);
        finish(call, TG_RESOURCE_EXHAUSTED, "the request is too large, or memory is out", NULL);
        return;
    }
    call->sent_ms = clock_now_ms();
    nng_aio_set_timeout(call->send, (nng_duration)connect_wait_ms(left));
    nng_aio_set_msg(call->send, message);
    nng_ctx_send(call->attempt.ctx, call->send);
}

static bool is_closing(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool closing = client->closing;
    pthread_mutex_unlock(&client->lock);
    return closing;
}

static void attempt(struct rpc_outgoing *call)
{
    uint32_t left = remaining_ms(call);
    call->attempts++;
    call->endpoint = rpc_endpoint_choose(call->client);
    if (is_closing(call->client))
        finish(call, TG_CANCELLED, "the client was closed", NULL);
    else if (left == 0)
        finish(call, call->perhaps_processed ? TG_UNKNOWN : TG_UNAVAILABLE, "no time left to try again",
               NULL);
    else if (call->endpoint == NULL)
        refuse(call);
    else if (!rpc_endpoint_begin(call->endpoint, &call->attempt))
        finish(call, TG_RESOURCE_EXHAUSTED, "out of memory", NULL);
    else
        send_attempt(call, left);
}

/* ---- the beginning ---- */

static struct rpc_outgoing *outgoing_new(struct rpc_client *client)
{
    struct rpc_outgoing *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->client = client;
    if (nng_aio_alloc(&call->send, on_sent, call) == 0 &&
        nng_aio_alloc(&call->receive, on_received, call) == 0)
        return call;
    nng_aio_free(call->send);
    free(call);
    return NULL;
}

/* CANCELLED when the client closes. */
static enum tg_code acquire(struct rpc_client *client, struct rpc_outgoing **out)
{
    pthread_mutex_lock(&client->lock);
    enum tg_code code = client->closing ? TG_CANCELLED : TG_OK;
    struct rpc_outgoing *call = client->free_calls;
    if (code == TG_OK && call != NULL) {
        client->free_calls = call->next_free;
    } else if (code == TG_OK) {
        call = outgoing_new(client);
        if (call != NULL) {
            call->next = client->all_calls;
            client->all_calls = call;
        } else {
            code = TG_RESOURCE_EXHAUSTED;
        }
    }
    if (code == TG_OK)
        client->active++;
    pthread_mutex_unlock(&client->lock);
    *out = call;
    return code;
}

static enum tg_code check(const struct rpc_request *request, struct rpc_route *route, struct tg_error *err)
{
    TG_ENSURE(request->budget_ms >= 1 && request->budget_ms <= RPC_BUDGET_MAX_MS, err, TG_INVALID_ARGUMENT,
              "a call's budget must be 1 to %d ms", RPC_BUDGET_MAX_MS);
    TG_TRY(rpc_route_find(request->service, request->method, route, err));
    TG_ENSURE(request->message->descriptor == route->input, err, TG_INVALID_ARGUMENT, "%s does not take a %s",
              route->name, request->message->descriptor->name);
    TG_ENSURE(request->trace == NULL || request->trace[0] == '\0' || strlen(request->trace) == TRACE_HEX_LEN,
              err, TG_INVALID_ARGUMENT, "a trace id must have %d hex digits", TRACE_HEX_LEN);
    return TG_OK;
}

static void fill_in(struct rpc_outgoing *call, const struct rpc_request *request)
{
    if (request->request_id != NULL)
        memcpy(call->request_id, request->request_id, REQUEST_ID_LEN);
    else
        random_bytes(call->request_id, REQUEST_ID_LEN);
    snprintf(call->trace, sizeof call->trace, "%s", request->trace != NULL ? request->trace : "");
    call->deadline_ms = clock_now_ms() + request->budget_ms;
    call->idempotent = request->idempotent;
    call->attempts = 0;
    call->perhaps_processed = false;
    call->refused = false;
    call->payload = pb_pack(request->message, &call->payload_len);
}

void rpc_outgoing_start(struct rpc_client *client, const struct rpc_request *request, bool keep,
                        rpc_done *done, void *arg)
{
    struct tg_error err = {0};
    struct rpc_route route;
    struct rpc_outgoing *call = NULL;
    enum tg_code code = check(request, &route, &err);
    if (code == TG_OK && (code = acquire(client, &call)) != TG_OK)
        (void)tg_fail(&err, code, "%s: the client is closed, or memory is out", client->name);
    if (code != TG_OK) {
        done(arg, code, err.text, NULL);
        return;
    }
    call->route = route;
    call->keep = keep;
    call->done = done;
    call->arg = arg;
    fill_in(call, request);
    if (call->payload == NULL)
        finish(call, TG_RESOURCE_EXHAUSTED, "out of memory", NULL);
    else
        attempt(call);
}

void rpc_outgoing_cancel_all(struct rpc_client *client)
{
    for (struct rpc_outgoing *call = client->all_calls; call != NULL; call = call->next) {
        nng_aio_cancel(call->send);
        nng_aio_cancel(call->receive);
        if (call->pause != NULL)
            nng_aio_cancel(call->pause);
    }
}

void rpc_outgoing_free_all(struct rpc_client *client)
{
    while (client->all_calls != NULL) {
        struct rpc_outgoing *call = client->all_calls;
        client->all_calls = call->next;
        nng_aio_free(call->send);
        nng_aio_free(call->receive);
        nng_aio_free(call->pause);
        free(call);
    }
}
