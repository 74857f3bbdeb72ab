#include <stdlib.h>
#include <string.h>

#include "services/audit/audit.h"
#include "services/audit/record.h"

enum { EVENTS_MAX = 256 };

static void append_done(void *arg, enum tg_code status, const char *text, uint64_t first_sequence)
{
    struct rpc_call *call = arg;
    if (status != TG_OK) {
        rpc_fail(call, status, "%s", text);
        return;
    }
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    response.first_sequence = first_sequence;
    rpc_reply(call, &response.base);
}

static enum tg_code encode_all(const struct audit *audit, const Tg__AppendRequest *request,
                               struct log_entry *entries, size_t *count, struct tg_error *err)
{
    for (*count = 0; *count < request->n_events; (*count)++) {
        struct log_entry *entry = &entries[*count];
        TG_ENSURE(strcmp(request->events[*count]->event, "audit.archived") != 0, err, TG_INVALID_ARGUMENT,
                  "audit.archived says which entries may be missing: it is the audit service's own");
        TG_TRY(record_encode(request->events[*count], audit->ticket_key, &entry->body, &entry->len, err));
    }
    return TG_OK;
}

static void append(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__AppendRequest *request = (const Tg__AppendRequest *)message;
    struct audit *audit = rpc_call_context(call);
    struct log_entry entries[EVENTS_MAX];
    struct tg_error err = {0};
    size_t count = 0;
    if (request->n_events < 1 || request->n_events > EVENTS_MAX) {
        rpc_fail(call, TG_INVALID_ARGUMENT, "1 to %d events, not %zu", EVENTS_MAX, request->n_events);
        return;
    }
    if (encode_all(audit, request, entries, &count, &err) != TG_OK) {
        while (count > 0)
            free(entries[--count].body);
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    committer_submit(audit->committer, rpc_call_request_id(call), entries, count, append_done, call);
}

static void query_answered(void *arg, enum tg_code status, const char *text,
                           const Tg__QueryResponse *response)
{
    struct rpc_call *call = arg;
    if (status == TG_OK)
        rpc_reply(call, &response->base);
    else
        rpc_fail(call, status, "%s", text);
}

static void query(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct audit *audit = rpc_call_context(call);
    query_submit(audit->queries, (const Tg__QueryRequest *)message, rpc_call_remaining_ms(call),
                 query_answered, call);
}

static void verify_answered(void *arg, enum tg_code status, const char *text,
                            const ProtobufCMessage *response)
{
    struct rpc_call *call = arg;
    if (status == TG_OK)
        rpc_reply(call, response);
    else
        rpc_fail(call, status, "%s", text);
}

static void verify(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct audit *audit = rpc_call_context(call);
    verifier_verify(audit->verifier, (const Tg__AuditVerifyRequest *)message, rpc_call_remaining_ms(call),
                    verify_answered, call);
}

static void receipt(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct audit *audit = rpc_call_context(call);
    verifier_prove(audit->verifier, (const Tg__AuditReceiptRequest *)message, rpc_call_remaining_ms(call),
                   verify_answered, call);
}

static void checkpoint(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct audit *audit = rpc_call_context(call);
    const struct note_keys *keys = audit->log->ops->keys(audit->log);
    Tg__AuditCheckpointResponse response = TG__AUDIT_CHECKPOINT_RESPONSE__INIT;
    char vkeys[NOTE_KEYS_MAX][NOTE_VKEY_MAX];
    char *pointers[NOTE_KEYS_MAX];
    struct tg_error err = {0};
    char *note = NULL;
    (void)message;
    if (audit->log->ops->checkpoint(audit->log, &note, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    for (size_t i = 0; i < keys->count; i++) {
        note_key_vkey(keys->key[i], vkeys[i]);
        pointers[i] = vkeys[i];
    }
    response.note = note;
    response.keys = pointers;
    response.n_keys = keys->count;
    rpc_reply(call, &response.base);
    free(note);
}

/* The key stays here; whoever has a ticket can learn how to find it in the log. */
static void hash(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct audit *audit = rpc_call_context(call);
    const Tg__HashRequest *request = (const Tg__HashRequest *)message;
    Tg__HashResponse response = TG__HASH_RESPONSE__INIT;
    char hex[RECORD_HMAC_HEX_LEN + 1];
    if (request->value.len < 1 || request->value.len > RECORD_HIDDEN_MAX) {
        rpc_fail(call, TG_INVALID_ARGUMENT, "a value of 1 to %d bytes, not %zu", RECORD_HIDDEN_MAX,
                 request->value.len);
        return;
    }
    if (!record_hmac(audit->ticket_key, request->value.data, request->value.len, hex)) {
        rpc_fail(call, TG_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    response.hmac = hex;
    rpc_reply(call, &response.base);
}

const struct rpc_method audit_methods[] = {
    {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE | RPC_ROLE_GATEWAY | RPC_ROLE_RESOLVER, append},
    {&tg__audit__descriptor, "Query", RPC_ROLE_OPERATOR, query},
    {&tg__audit__descriptor, "Verify", RPC_ROLE_OPERATOR, verify},
    {&tg__audit__descriptor, "Checkpoint", RPC_ROLE_OPERATOR, checkpoint},
    {&tg__audit__descriptor, "Receipt", RPC_ROLE_OPERATOR, receipt},
    {&tg__audit__descriptor, "Hash", RPC_ROLE_OPERATOR, hash},
    {0},
};
