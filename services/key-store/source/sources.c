/* Which source this key store draws from, and what auditors and operators hear of it. */
#include <stdio.h>

#include "common/pb.h"
#include "services/key-store/key-store.h"
#include "services/key-store/source/source_device.h"
#include "services/key-store/source/source_etsi014.h"
#include "services/key-store/source/source_stock.h"

const char *const source_kinds[] = {"drbg", "device", "etsi014", NULL};

/* ---- events ---- */

static void report(void *arg, enum source_event what, const struct source_status *status)
{
    static const char *const names[] = {"source.low", "source.recovered", "source.failed"};
    const struct key_store *ks = arg;
    char detail[96];
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string(names[what]);
    event.outcome = what == SOURCE_RECOVERED ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event.reason = pb_string(status->problem);
    snprintf(detail, sizeof detail, "key source %s: %zu keys in stock, low water %zu",
             ks->source != NULL ? ks->source->name : "", (size_t)status->stock / AT_REST_KEY_LEN,
             (size_t)status->low_water / AT_REST_KEY_LEN);
    event.detail = pb_string(detail);
    audit_post_last(ks->audit, &event); /* one for each turn of the source: few */
}

/* ---- opening ---- */

static enum tg_code open_device(const struct source_config *config, struct source_fetch *fetch,
                                struct tg_error *err)
{
    TG_ENSURE(config->device.path != NULL, err, TG_INVALID_ARGUMENT,
              "device.path must be given for source: device");
    const struct source_device_options options = {.path = config->device.path,
                                                  .min_entropy = (unsigned)config->device.min_entropy,
                                                  .conditioned = config->device.conditioned,
                                                  .timeout_ms = (unsigned)config->device.timeout};
    return source_device_open(&options, fetch, err);
}

static enum tg_code open_etsi014(const struct source_config *config, struct source_fetch *fetch,
                                 struct tg_error *err)
{
    return source_etsi014_open(&config->kme.peer, config->kme.slave_sae, fetch, err);
}

static enum tg_code (*const open_fetch[])(const struct source_config *config, struct source_fetch *fetch,
                                          struct tg_error *err) = {
    [SOURCE_DEVICE] = open_device,
    [SOURCE_ETSI014] = open_etsi014,
};

enum tg_code key_store_open_source(struct key_store *ks, const struct source_config *config,
                                   struct tg_error *err)
{
    struct source_fetch fetch;
    if (config->kind == SOURCE_DRBG) {
        ks->source = source_drbg();
        return TG_OK;
    }
    TG_ENSURE(config->low_water <= config->stock / 2, err, TG_INVALID_ARGUMENT,
              "source_low_water must be at most half of source_stock");
    TG_TRY(open_fetch[config->kind](config, &fetch, err));
    const struct source_stock_options options = {.capacity = (size_t)config->stock * AT_REST_KEY_LEN,
                                                 .low_water = (size_t)config->low_water * AT_REST_KEY_LEN,
                                                 .on_event = report,
                                                 .arg = ks};
    return source_stock_open(&fetch, &options, &ks->source, err);
}

/* ---- what operators ask ---- */

void handle_source_status(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct key_store *ks = rpc_call_context(call);
    struct source_status status;
    Tg__SourceStatusResponse response = TG__SOURCE_STATUS_RESPONSE__INIT;
    (void)message;
    ks->source->status(ks->source, &status);
    response.source = pb_string(ks->source->name);
    response.stock = status.stock / AT_REST_KEY_LEN;
    response.capacity = status.capacity / AT_REST_KEY_LEN;
    response.low_water = status.low_water / AT_REST_KEY_LEN;
    response.fetched = status.fetched / AT_REST_KEY_LEN;
    response.drawn = status.drawn / AT_REST_KEY_LEN;
    response.bytes_per_s = status.rate;
    response.low = status.low;
    response.failed = status.failed;
    response.problem = pb_string(status.problem);
    rpc_reply(call, &response.base);
}
