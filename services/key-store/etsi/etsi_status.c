/* Get status (clause 5.2): what a master can have. */
#include <stdio.h>

#include "services/key-store/etsi/etsi_job.h"

static enum tg_code apply(struct etsi_job *job, struct store *store, struct tg_error *err)
{
    const char *kme = job->server->config->kme_id;
    uint64_t waiting = 0;
    TG_TRY(store->ops->sae_key_count(store, job->master, job->slave, &waiting, err));
    job->status = (struct etsi014_status){
        .key_size = ETSI_KEY_BITS,
        .min_key_size = ETSI_KEY_BITS_MIN,
        .max_key_size = ETSI_KEY_BITS,
        /* They are made when they are asked for: what can be had is the room that is left. */
        .stored_key_count = waiting < ETSI_KEYS_PER_PAIR ? ETSI_KEYS_PER_PAIR - (uint32_t)waiting : 0,
        .max_key_count = ETSI_KEYS_PER_PAIR,
        .max_key_per_request = ETSI_KEYS_PER_REQUEST,
    };
    snprintf(job->status.source_kme, sizeof job->status.source_kme, "%s", kme);
    snprintf(job->status.target_kme, sizeof job->status.target_kme, "%s", kme); /* both SAEs are ours */
    snprintf(job->status.master_sae, sizeof job->status.master_sae, "%s", job->master);
    snprintf(job->status.slave_sae, sizeof job->status.slave_sae, "%s", job->slave);
    return TG_OK;
}

static char *body(const struct etsi_job *job, size_t *len)
{
    return etsi014_status_encode(&job->status, len);
}

void etsi_status(struct http_request *request)
{
    static const struct etsi_job_kind kind = {.apply = apply, .body = body};
    struct etsi_job *job = etsi_job_new(request, &kind, true);
    if (job != NULL)
        etsi_job_submit(job);
}
