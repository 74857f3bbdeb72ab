/* tgctl source: where new keys come from, and how many are in stock. */
#include "tools/tgctl/keystore.h"

static const char *state_of(const Tg__SourceStatusResponse *status)
{
    if (status->failed)
        return "failed";
    if (status->low)
        return "low";
    return status->problem[0] != '\0' ? "troubled" : "good";
}

/* drbg has no stock: its cells stay empty. */
static void put_stock(json_t *row, const char *key, const Tg__SourceStatusResponse *status, uint64_t number)
{
    if (status->capacity > 0)
        row_number(row, key, number);
    else
        row_text(row, key, NULL);
}

static enum tgctl_exit source(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    static const struct table_column columns[] = {
        {"source", "SOURCE"},       {"state", "STATE"},         {"stock", "STOCK"},
        {"capacity", "OF"},         {"low_water", "LOW WATER"}, {"drawn", "DRAWN"},
        {"bytes_per_s", "BYTES/S"}, {"problem", "PROBLEM"},     {NULL, NULL},
    };
    Tg__SourceStatusRequest request = TG__SOURCE_STATUS_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct tg_error err;
    json_t *row = json_object();
    bool good;

    (void)arguments;
    if (keystore_call(ctl, "SourceStatus", &request.base, &answer, &err) != TG_OK) {
        json_decref(row);
        return tgctl_failed(&err);
    }
    const Tg__SourceStatusResponse *status = (const Tg__SourceStatusResponse *)answer;
    good = !status->failed && !status->low;
    row_text(row, "source", status->source);
    row_text(row, "state", state_of(status));
    put_stock(row, "stock", status, status->stock);
    put_stock(row, "capacity", status, status->capacity);
    put_stock(row, "low_water", status, status->low_water);
    row_number(row, "drawn", status->drawn);
    put_stock(row, "bytes_per_s", status, status->bytes_per_s);
    row_text(row, "problem", status->problem);
    rpc_free_response(answer);
    enum tgctl_exit shown = table_print_one(ctl, columns, row);
    return shown == EXIT_DONE && !good ? EXIT_NO : shown;
}

const struct tgctl_command source_commands[] = {
    {"source",
     NULL,
     {NULL},
     NULL,
     "where new keys come from, in keys; exit code 1 when the stock is low or the source has failed",
     source},
    {.group = NULL},
};
