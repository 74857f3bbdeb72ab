/* Keys to spend, through the real Fill and ConfirmFill: the user logs in for every thousand of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/pb.h"
#include "common/rpc/rpc.h"
#include "proto/key_store.pb-c.h"
#include "tests/bench/spend.h"

struct filler {
    const struct spend_options *options;
    struct rpc_client *charger;
    struct secret *password;
};

static enum tg_code call(const struct filler *filler, const char *method, const ProtobufCMessage *message,
                         ProtobufCMessage **response, struct tg_error *err)
{
    return rpc_call_wait(filler->charger,
                         &(struct rpc_request){.service = &tg__key_store__descriptor,
                                               .method = method,
                                               .message = message,
                                               .budget_ms = SPEND_BUDGET_MS},
                         response, err);
}

static enum tg_code confirm(const struct filler *filler, ProtobufCBinaryData fill_id, struct tg_error *err)
{
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    request.fill_id = fill_id;
    request.shield_id = pb_string(filler->options->shield);
    TG_TRY(call(filler, "ConfirmFill", &request.base, &response, err));
    rpc_free_response(response);
    return TG_OK;
}

static enum tg_code fill_once(const struct filler *filler, uint32_t count, uint8_t (*tickets)[TICKET_LEN],
                              struct tg_error *err)
{
    Tg__FillRequest request = TG__FILL_REQUEST__INIT;
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *response = NULL;
    request.shield_id = pb_string(filler->options->shield);
    request.user = pb_string(filler->options->user);
    request.password = pb_bytes(secret_view(filler->password), secret_len(filler->password));
    request.count = count;
    TG_TRY(call(filler, "Fill", &request.base, &response, err));
    const Tg__FillResponse *filled = (const void *)response;
    TG_ENSURE(filled->n_entries == count, err, TG_DATA_LOSS, "%zu keys instead of %u", filled->n_entries,
              count);
    for (uint32_t i = 0; i < count; i++)
        memcpy(tickets[i], filled->entries[i]->ticket.data, TICKET_LEN);
    return confirm(filler, filled->fill_id, err);
}

static enum tg_code fill_all(struct filler *filler, size_t count, uint8_t (*tickets)[TICKET_LEN],
                             struct tg_error *err)
{
    TG_TRY(file_read_line_secret(filler->options->password_file, &filler->password, err));
    TG_TRY(spend_open("key store", filler->options->charger, &filler->charger, err));
    for (size_t done = 0; done < count; done += SPEND_FILL) {
        size_t rest = count - done;
        TG_TRY(fill_once(filler, rest < SPEND_FILL ? (uint32_t)rest : SPEND_FILL, tickets + done, err));
    }
    return TG_OK;
}

enum tg_code spend_fill(const struct spend_options *options, size_t count, uint8_t (**tickets)[TICKET_LEN],
                        struct tg_error *err)
{
    struct filler filler = {.options = options};
    *tickets = calloc(count, sizeof **tickets);
    TG_ENSURE(*tickets != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for %zu tickets", count);
    enum tg_code code = fill_all(&filler, count, *tickets, err);
    rpc_client_close(filler.charger);
    secret_free(filler.password);
    return code;
}
