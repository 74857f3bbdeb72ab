#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/pb.h"
#include "common/trace.h"
#include "proto/key_store.pb-c.h"
#include "tests/crash/crash.h"

enum { PAUSE_US = 5000, LAID_UP = 1000 };

static struct {
    pthread_t thread;
    struct secret *password; /* of alice; kept for the next time */
    uint32_t count;
    uint64_t deadline_ms;
    Tg__FillResponse *filled; /* confirmed */
    struct tg_error err;
} supply;

static const char shield[] = "supply";

static bool call(const char *method, const ProtobufCMessage *message, ProtobufCMessage **response)
{
    const struct rpc_request request = {
        .service = &tg__key_store__descriptor, .method = method, .message = message, .budget_ms = BUDGET_MS};
    while (clock_now_ms() < supply.deadline_ms) {
        enum tg_code code = rpc_call_wait(bank.charger, &request, response, &supply.err);
        if (code == TG_OK)
            return true;
        if (code == TG_NOT_FOUND || code == TG_FAILED_PRECONDITION || code == TG_DATA_LOSS ||
            code == TG_INTERNAL)
            return false; /* a verdict: trying again helps nobody */
        usleep(PAUSE_US);
    }
    return false;
}

static bool confirm(ProtobufCBinaryData fill_id)
{
    Tg__ConfirmFillRequest request = TG__CONFIRM_FILL_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    request.fill_id = fill_id;
    request.shield_id = pb_string(shield);
    bool good = call("ConfirmFill", &request.base, &response);
    rpc_free_response(response);
    return good;
}

static void *fill(void *arg)
{
    ProtobufCMessage *response = NULL;
    (void)arg;
    Tg__FillRequest request = TG__FILL_REQUEST__INIT;
    request.shield_id = pb_string(shield);
    request.user = pb_string("alice");
    request.password = pb_bytes(secret_view(supply.password), secret_len(supply.password));
    request.count = supply.count;
    if (call("Fill", &request.base, &response)) {
        supply.filled = (Tg__FillResponse *)response;
        if (!confirm(supply.filled->fill_id)) {
            rpc_free_response(response);
            supply.filled = NULL;
        }
    }
    return NULL;
}

void supply_begin(uint32_t count)
{
    if (supply.password == NULL &&
        file_read_line_secret(instance_path(bank.instance, "secrets/alice.password"), &supply.password,
                              &supply.err) != TG_OK)
        abort();
    supply.count = count;
    supply.deadline_ms = clock_now_ms() + SETTLE_MS;
    if (pthread_create(&supply.thread, NULL, fill, NULL) != 0)
        abort();
}

void supply_await(void)
{
    pthread_join(supply.thread, NULL);
    if (supply.filled == NULL)
        found(OTHER, "no keys could be filled: %s", supply.err.text);
}

void supply_end(void)
{
    if (supply.filled == NULL)
        return;
    for (size_t i = 0; i < supply.filled->n_entries; i++)
        spends_add(supply.filled->entries[i]->ticket.data);
    rpc_free_response(&supply.filled->base);
    supply.filled = NULL;
}

static struct {
    uint8_t (*tickets)[TICKET_LEN];
    size_t count;
} laid_up;

void supply_lay_up(void)
{
    supply_begin(LAID_UP);
    supply_await();
    if (supply.filled == NULL)
        return;
    laid_up.tickets = calloc(supply.filled->n_entries, TICKET_LEN);
    for (size_t i = 0; laid_up.tickets != NULL && i < supply.filled->n_entries; i++)
        memcpy(laid_up.tickets[laid_up.count++], supply.filled->entries[i]->ticket.data, TICKET_LEN);
    rpc_free_response(&supply.filled->base);
    supply.filled = NULL;
}

void supply_use_up(size_t most)
{
    for (; most > 0 && laid_up.count > 0; most--)
        spends_add(laid_up.tickets[--laid_up.count]);
}
