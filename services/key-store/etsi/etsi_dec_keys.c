/* Get key with key IDs (clause 5.4): the slave fetches what the master drew, once. All of them or none. */
#include <string.h>

#include "services/key-store/etsi/etsi_job.h"

static enum tg_code read_ids(const struct http_request *http, uint8_t (*ids)[TICKET_KEY_ID_LEN],
                             size_t *count, struct tg_error *err)
{
    size_t len = 0;
    const char *body = http_request_body(http, &len);
    if (http_request_is(http, HTTP_POST))
        return etsi014_key_ids_decode(body, len, ETSI_KEYS_PER_REQUEST, ids, count, err);
    const char *id = http_request_argument(http, "key_ID");
    TG_ENSURE(id != NULL && etsi014_id_decode(id, ids[0]), err, TG_INVALID_ARGUMENT,
              "key_ID shall be a UUID");
    *count = 1;
    return TG_OK;
}

/* ---- in the transaction ---- */

/* The key is there, but another SAE was named as its slave: 401, not 400. Nothing is lost by looking so: a
 * refused item is undone as a whole. */
static bool is_anothers(const struct etsi_job *job, struct store *store, const uint8_t *id)
{
    const struct config_list *saes = &job->server->config->saes;
    struct store_sae_key row;
    for (size_t i = 0; i < saes->count; i++)
        if (store->ops->sae_key_take(store, id, job->master, ((char *const *)saes->items)[i], &row, NULL) ==
            TG_OK)
            return true;
    return false;
}

static enum tg_code open_key(struct etsi_job *job, size_t i, const struct store_sae_key *row,
                             struct tg_error *err)
{
    const struct at_rest_name name = {AT_REST_SAE_KEY, row->key_id, TICKET_KEY_ID_LEN};
    TG_CLEANUP(secret_cleanup) struct secret *key = NULL;
    TG_TRY(at_rest_open(job->ks->keyring, &name, &row->key, &key, err));
    TG_ENSURE(row->bits / 8 <= AT_REST_KEY_LEN, err, TG_DATA_LOSS, "a key's length in the database is wrong");
    if (i == 0) /* one answer has keys of one length; the first one says which */
        job->keys.key_len = row->bits / 8;
    TG_ENSURE(row->bits / 8 == job->keys.key_len, err, TG_INVALID_ARGUMENT,
              "keys of different sizes shall be fetched one by one");
    memcpy(secret_bytes(job->keys.bytes) + i * job->keys.key_len, secret_view(key), job->keys.key_len);
    return TG_OK;
}

static enum tg_code take_key(struct etsi_job *job, struct store *store, size_t i, struct tg_error *err)
{
    const uint8_t *id = job->keys.ids[i];
    struct store_sae_key row;
    enum tg_code code = store->ops->sae_key_take(store, id, job->master, job->slave, &row, err);
    if (code == TG_NOT_FOUND && is_anothers(job, store, id))
        return tg_fail(err, TG_UNAUTHENTICATED, "another SAE was named as the key's slave");
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_NOT_FOUND, ETSI014_KEYS_NOT_FOUND);
    TG_TRY(code);
    TG_ENSURE(row.expires_s > job->ks->now_s(), err, TG_NOT_FOUND, "the key has expired");
    return open_key(job, i, &row, err);
}

static enum tg_code apply(struct etsi_job *job, struct store *store, struct tg_error *err)
{
    for (size_t i = 0; i < job->keys.count; i++)
        TG_TRY(take_key(job, store, i, err));
    return TG_OK;
}

static void count(struct etsi_job *job)
{
    atomic_fetch_add(&job->server->taken, job->keys.count);
}

static char *body(const struct etsi_job *job, size_t *len)
{
    return etsi014_keys_encode(&job->keys, len);
}

/* ---- before it ---- */

static enum tg_code prepare(struct etsi_job *job, struct tg_error *err)
{
    uint8_t ids[ETSI_KEYS_PER_REQUEST][TICKET_KEY_ID_LEN];
    size_t count = 0;
    TG_TRY(read_ids(job->request, ids, &count, err));
    TG_TRY(etsi014_keys_init(&job->keys, count, AT_REST_KEY_LEN, err));
    memcpy(job->keys.ids, ids, count * sizeof *ids);
    return TG_OK;
}

void etsi_dec_keys(struct http_request *http)
{
    static const struct etsi_job_kind kind = {
        .event = "sae.keys_taken", .apply = apply, .count = count, .body = body};
    struct tg_error err;
    struct etsi_job *job = etsi_job_new(http, &kind, false);
    if (job == NULL)
        return;
    if (prepare(job, &err) != TG_OK)
        etsi_job_refuse(job, err.code, err.text);
    else
        etsi_job_submit(job);
}
