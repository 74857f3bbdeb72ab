#include "client/charger/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/charger/drawn.h"
#include "client/charger/options.h"
#include "client/charger/pending.h"
#include "common/pb.h"
#include "common/ticket_info.h"
#include "proto/key_store.pb-c.h"

/* What the key store's no means for the user. */
static enum client_exit exit_for_call(enum tg_code code)
{
    switch ((unsigned)code) {
    case TG_UNAUTHENTICATED:
    case TG_PERMISSION_DENIED:
    case TG_FAILED_PRECONDITION:
    case TG_NOT_FOUND:
        return EXIT_REFUSED;
    case TG_RESOURCE_EXHAUSTED:
    case TG_ABORTED:
        return EXIT_TRY_LATER;
    case TG_UNAVAILABLE:
    case TG_UNKNOWN:
    case TG_DEADLINE_EXCEEDED:
    case TG_CANCELLED:
        return EXIT_GATEWAY_UNREACHABLE;
    default:
        return EXIT_PROTOCOL;
    }
}

static enum tg_code call(const struct fill_request *request, const char *method,
                         const ProtobufCMessage *message, bool idempotent, ProtobufCMessage **response,
                         struct tg_error *err)
{
    const struct trace trace = trace_new();
    const struct rpc_request rpc = {.service = &tg__key_store__descriptor,
                                    .method = method,
                                    .message = message,
                                    .budget_ms = request->timeout_ms,
                                    .trace = trace.hex,
                                    .idempotent = idempotent};
    return rpc_call_wait(request->key_store, &rpc, response, err);
}

static enum tg_code check_entry(const Tg__FillEntry *entry, struct tg_error *err)
{
    struct ticket ticket;
    TG_ENSURE(entry->ticket.len == TICKET_LEN && entry->key.len == QUANTUM_KEY_LEN, err, TG_DATA_LOSS,
              "the key store sent a ticket or key of the wrong length");
    return ticket_peek(entry->ticket.data, TICKET_LEN, &ticket, err);
}

static enum tg_code check(const Tg__FillResponse *response, uint32_t wanted, struct tg_error *err)
{
    TG_ENSURE(response->n_entries == wanted, err, TG_DATA_LOSS, "the key store sent %zu keys instead of %u",
              response->n_entries, wanted);
    TG_ENSURE(response->fill_id.len > 0 && response->fill_id.len <= PENDING_FILL_ID_MAX, err, TG_DATA_LOSS,
              "the key store sent a fill id of %zu bytes", response->fill_id.len);
    for (size_t i = 0; i < response->n_entries; i++)
        TG_TRY(check_entry(response->entries[i], err));
    return TG_OK;
}

static void entries_free(struct shield_entry *entries, struct secret **keys, size_t count)
{
    for (size_t i = 0; keys != NULL && i < count; i++)
        secret_free(keys[i]);
    free(keys);
    free(entries);
}

static enum tg_code put_on_shield(const struct fill_request *request, const Tg__FillResponse *response,
                                  struct tg_error *err)
{
    size_t count = response->n_entries;
    struct shield_entry *entries = calloc(count, sizeof *entries);
    struct secret **keys = calloc(count, sizeof(struct secret *));
    bool memory = entries != NULL && keys != NULL;
    for (size_t i = 0; memory && i < count; i++) {
        keys[i] = secret_copy(response->entries[i]->key.data, QUANTUM_KEY_LEN);
        memory = keys[i] != NULL;
        entries[i] = (struct shield_entry){.ticket = response->entries[i]->ticket.data, .key = keys[i]};
    }
    enum tg_code code =
        memory ? shield_add(request->shield, entries, count, err)
               : tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of locked memory: use a smaller --chunk");
    entries_free(entries, keys, count);
    return code;
}

static enum tg_code confirm(const struct fill_request *request, const struct pending *pending,
                            struct tg_error *err)
{
    Tg__ConfirmFillRequest message = TG__CONFIRM_FILL_REQUEST__INIT;
    message.fill_id = pb_bytes(pending->fill_id, pending->fill_id_len);
    message.shield_id = pb_string(pending->shield_id);
    ProtobufCMessage *response = NULL;
    enum tg_code code = call(request, "ConfirmFill", &message.base, true, &response, err);
    rpc_free_response(response);
    return code;
}

static enum client_exit forget(const struct fill_request *request, struct tg_error *err)
{
    enum tg_code code = pending_remove(request->shield, err);
    return code == TG_OK ? EXIT_OK : exit_for_shield(code);
}

/* Takes back what there is of it: the key store lets a fill lapse that nobody confirms. */
static enum client_exit undo(const struct fill_request *request, const struct pending *pending,
                             struct tg_error *err)
{
    enum tg_code code = shield_remove(request->shield, pending->key_ids, pending->count, err);
    return code == TG_OK ? forget(request, err) : exit_for_shield(code);
}

/* A fill that is on the shield as a whole is confirmed. The key store may have waited too long for that, or
 * the shield has been revoked: then its keys are worth nothing. */
static enum client_exit confirm_late(const struct fill_request *request, const struct pending *pending,
                                     struct tg_error *err)
{
    enum tg_code code = confirm(request, pending, err);
    if (code == TG_FAILED_PRECONDITION || code == TG_NOT_FOUND)
        return undo(request, pending, err);
    return code == TG_OK ? forget(request, err) : exit_for_call(code);
}

/* A fill that was interrupted last time. */
static enum client_exit catch_up(const struct fill_request *request, struct tg_error *err)
{
    struct pending pending;
    bool found = false, whole = false;
    enum tg_code code = pending_read(request->shield, &pending, &found, err);
    if (code == TG_OK && found)
        code = shield_has(request->shield, pending.key_ids[pending.count - 1], &whole, err);
    if (code != TG_OK)
        return exit_for_shield(code);
    if (!found)
        return EXIT_OK;
    bool ours = strcmp(pending.shield_id, request->shield_id) == 0;
    return whole && ours ? confirm_late(request, &pending, err) : undo(request, &pending, err);
}

/* In the order in which a shield gives keys out again. */
static int in_order(const void *a, const void *b)
{
    const Tg__FillEntry *const *left = a, *const *right = b;
    struct ticket l, r;
    TG_INVARIANT(ticket_peek((*left)->ticket.data, TICKET_LEN, &l, NULL) == TG_OK &&
                 ticket_peek((*right)->ticket.data, TICKET_LEN, &r, NULL) == TG_OK);
    if (l.expires_s != r.expires_s)
        return l.expires_s < r.expires_s ? -1 : 1;
    return memcmp(l.key_id, r.key_id, sizeof l.key_id);
}

static struct pending note_of(const struct fill_request *request, const Tg__FillResponse *response)
{
    struct pending pending = {.fill_id_len = response->fill_id.len, .count = response->n_entries};
    memcpy(pending.fill_id, response->fill_id.data, response->fill_id.len);
    snprintf(pending.shield_id, sizeof pending.shield_id, "%s", request->shield_id);
    for (size_t i = 0; i < response->n_entries; i++) {
        struct ticket ticket;
        TG_INVARIANT(ticket_peek(response->entries[i]->ticket.data, TICKET_LEN, &ticket, NULL) == TG_OK);
        memcpy(pending.key_ids[i], ticket.key_id, sizeof ticket.key_id);
    }
    return pending;
}

/* Made, remembered, put on the shield, confirmed: wherever this breaks off, the next run knows what to do. */
static enum client_exit keep(const struct fill_request *request, Tg__FillResponse *response,
                             struct tg_error *err)
{
    qsort(response->entries, response->n_entries, sizeof(Tg__FillEntry *), in_order);
    const struct pending pending = note_of(request, response);
    enum tg_code code = pending_write(request->shield, &pending, err);
    if (code != TG_OK)
        return exit_for_shield(code);
    code = put_on_shield(request, response, err);
    if (code != TG_OK) {
        undo(request, &pending, NULL); /* if it cannot be done now, the next run does it */
        return exit_for_shield(code);
    }
    code = confirm(request, &pending, err);
    return code == TG_OK ? forget(request, err) : exit_for_call(code);
}

static enum client_exit ask_and_keep(const struct fill_request *request, Tg__FillRequest *message,
                                     const struct drawn *drawn, struct tg_error *err)
{
    message->shield_id = pb_string(request->shield_id);
    message->user = pb_string(request->user);
    message->password = pb_bytes(secret_view(request->password), secret_len(request->password));
    ProtobufCMessage *response = NULL;
    enum tg_code code = call(request, "Fill", &message->base, false, &response, err);
    if (code != TG_OK)
        return exit_for_call(code);
    Tg__FillResponse *fill = (Tg__FillResponse *)response;
    if (request->kme != NULL)
        code = drawn_join(drawn, fill, err);
    if (code == TG_OK)
        code = check(fill, message->count, err);
    enum client_exit how = code == TG_OK ? keep(request, fill, err) : EXIT_PROTOCOL;
    rpc_free_response(response);
    return how;
}

static enum client_exit fill_chunk(const struct fill_request *request, uint32_t count, struct tg_error *err)
{
    TG_CLEANUP(drawn_fini) struct drawn drawn = {0};
    Tg__FillRequest message = TG__FILL_REQUEST__INIT;
    message.count = count;
    if (request->kme != NULL && drawn_init(&drawn, request->kme, request->slave_sae, count,
                                           clock_now_ms() + request->timeout_ms, &message, err) != TG_OK)
        return EXIT_TRY_LATER;
    return ask_and_keep(request, &message, &drawn, err);
}

enum client_exit fill_run(const struct fill_request *request, uint32_t *filled, struct tg_error *err)
{
    *filled = 0;
    enum client_exit how = catch_up(request, err);
    while (how == EXIT_OK && *filled < request->count && !request->stop(request->arg)) {
        uint32_t left = request->count - *filled;
        uint32_t count = left < request->chunk ? left : request->chunk;
        how = fill_chunk(request, count, err);
        if (how == EXIT_OK) {
            *filled += count;
            request->progress(request->arg, *filled, request->count);
        }
    }
    return how;
}
