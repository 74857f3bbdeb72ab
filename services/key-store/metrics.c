/* What the key store counts. */
#include "services/key-store/key-store.h"

static void write_source(const struct key_store *ks, struct metrics *out)
{
    struct source_status status;
    ks->source->status(ks->source, &status);
    const struct {
        enum metric_type type;
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {METRIC_GAUGE, "ticketgate_source_stock_keys", "Keys fetched ahead from the source.",
         status.stock / AT_REST_KEY_LEN},
        {METRIC_GAUGE, "ticketgate_source_capacity_keys", "At most so many; 0: the source needs no stock.",
         status.capacity / AT_REST_KEY_LEN},
        {METRIC_GAUGE, "ticketgate_source_low", "1: under the low-water mark.", status.low},
        {METRIC_GAUGE, "ticketgate_source_failed", "1: a health test failed; no more keys until a new start.",
         status.failed},
        {METRIC_GAUGE, "ticketgate_source_bytes_per_second", "What it gave lately, while it was asked.",
         status.rate},
        {METRIC_COUNTER, "ticketgate_source_fetched_bytes_total", "Taken from the source.", status.fetched},
        {METRIC_COUNTER, "ticketgate_source_drawn_bytes_total", "Made into keys.", status.drawn},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_family(out, rows[i].type, rows[i].name, rows[i].help);
        metrics_value(out, rows[i].value, "source", ks->source->name, NULL);
    }
}

static void write_sae(const struct key_store *ks, struct metrics *out)
{
    struct etsi_counts counts;
    if (ks->etsi == NULL)
        return;
    etsi_server_counts(ks->etsi, &counts);
    metrics_one(out, METRIC_COUNTER, "ticketgate_sae_keys_made_total", "Keys that master SAEs drew.",
                counts.made);
    metrics_one(out, METRIC_COUNTER, "ticketgate_sae_keys_taken_total", "Keys that slave SAEs fetched.",
                counts.taken);
    metrics_one(out, METRIC_COUNTER, "ticketgate_sae_refused_total",
                "Requests of SAEs not answered with 200.", counts.refused);
}

void key_store_metrics(void *state, struct metrics *out)
{
    const struct key_store *ks = state;
    metrics_one(out, METRIC_COUNTER, "ticketgate_keys_made_total", "Keys made for shields.",
                atomic_load(&ks->keys_made));
    metrics_one(out, METRIC_COUNTER, "ticketgate_keys_spent_total", "Keys spent, each once.",
                atomic_load(&ks->keys_spent));
    write_source(ks, out);
    write_sae(ks, out);
    audit_client_metrics(ks->audit, out);
}
