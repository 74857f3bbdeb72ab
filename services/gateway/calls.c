#include "services/gateway/calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/pb.h"
#include "services/gateway/refuse.h"

struct call {
    struct post post; /* first: worker_post gives it back */
    struct worker *worker;
    uint64_t connection;
    call_answer *then;
    stream_answer *then_stream; /* instead, for a stream */
    uint32_t stream;
    enum tg_code status;
    char text[256];
    const ProtobufCMessageDescriptor *type; /* of the answer in bytes; NULL: none */
    uint8_t *bytes;
    size_t len;
};

static enum tg_code answer(struct connection *c, const struct call *call, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *response = NULL;
    if (call->then_stream != NULL) {
        call->then_stream(c, call->stream, call->status, call->text);
        return TG_OK;
    }
    if (call->type != NULL) {
        response = pb_unpack(call->type, call->bytes, call->len);
        TG_ENSURE(response != NULL, err, TG_UNAVAILABLE, "cannot keep the answer of another service");
    }
    return call->then(c, call->status, call->text, response, err);
}

/* On the connection's own thread again. */
static void come_back(struct worker *worker, struct post *post)
{
    struct call *call = (struct call *)post;
    struct connection *c = worker != NULL ? worker_find(worker, call->connection) : NULL;
    struct tg_error err;
    if (c != NULL && !c->closed && !c->leaving && answer(c, call, &err) != TG_OK)
        refuse(c, &err);
    if (call->bytes != NULL)
        pb_buffer_free(call->bytes, call->len);
    free(call);
}

static struct call *call_new(struct connection *c, call_answer *then)
{
    struct call *call = calloc(1, sizeof *call);
    TG_INVARIANT(call != NULL);
    call->post.run = come_back;
    call->worker = c->worker;
    call->connection = c->id;
    call->then = then;
    return call;
}

static void on_answer(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct call *call = arg;
    call->status = status;
    snprintf(call->text, sizeof call->text, "%s", text != NULL ? text : "");
    if (status == TG_OK && response != NULL) {
        call->bytes = pb_pack(response, &call->len);
        if (call->bytes != NULL)
            call->type = response->descriptor;
        else
            call->status = TG_RESOURCE_EXHAUSTED;
    }
    worker_post(call->worker, &call->post);
}

static void on_durable(void *arg, enum tg_code status, const char *text)
{
    on_answer(arg, status, text, NULL);
}

void call_service(struct connection *c, struct rpc_client *client, const struct rpc_request *request,
                  call_answer *then)
{
    rpc_start(client, request, on_answer, call_new(c, then));
}

void call_audit(struct connection *c, const Tg__Event *event, uint32_t budget_ms, call_answer *then)
{
    audit_report(c->worker->gateway->audit, event, budget_ms, on_durable, call_new(c, then));
}

void call_audit_stream(struct connection *c, uint32_t stream, const Tg__Event *event, uint32_t budget_ms,
                       stream_answer *then)
{
    struct call *call = call_new(c, NULL);
    call->then_stream = then;
    call->stream = stream;
    audit_report(c->worker->gateway->audit, event, budget_ms, on_durable, call);
}
