/* Get key (clause 5.3): new keys for the master, and kept for the slave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/key-store/etsi/etsi_job.h"

/* ---- what is asked ---- */

static enum tg_code take_argument(const struct http_request *request, const char *name, uint32_t *out,
                                  struct tg_error *err)
{
    const char *text = http_request_argument(request, name);
    if (text == NULL)
        return TG_OK;
    size_t digits = strspn(text, "0123456789");
    TG_ENSURE(digits >= 1 && digits <= 9 && text[digits] == '\0', err, TG_INVALID_ARGUMENT,
              "%s shall be a whole number", name);
    *out = (uint32_t)strtoul(text, NULL, 10);
    return TG_OK;
}

static enum tg_code read_request(const struct http_request *http, struct etsi014_request *request,
                                 struct tg_error *err)
{
    size_t len = 0;
    const char *body = http_request_body(http, &len);
    *request = (struct etsi014_request){.number = 1, .size = ETSI_KEY_BITS};
    if (http_request_is(http, HTTP_POST))
        return etsi014_request_decode(body, len, request, err);
    TG_TRY(take_argument(http, "number", &request->number, err));
    return take_argument(http, "size", &request->size, err);
}

static enum tg_code check(const struct etsi014_request *request, struct tg_error *err)
{
    TG_ENSURE(request->additional_slaves == 0, err, TG_INVALID_ARGUMENT,
              "additional_slave_SAE_IDs are not supported: max_SAE_ID_count is 0");
    TG_ENSURE(request->size % 8 == 0, err, TG_INVALID_ARGUMENT, ETSI014_SIZE_NOT_BYTES);
    TG_ENSURE(request->size >= ETSI_KEY_BITS_MIN && request->size <= ETSI_KEY_BITS, err, TG_INVALID_ARGUMENT,
              "size shall be %d to %d", ETSI_KEY_BITS_MIN, ETSI_KEY_BITS);
    TG_ENSURE(request->number >= 1 && request->number <= ETSI_KEYS_PER_REQUEST, err, TG_INVALID_ARGUMENT,
              "number shall be 1 to %d", ETSI_KEYS_PER_REQUEST);
    return TG_OK;
}

/* ---- making keys: before the transaction, so that it stays short ---- */

static enum tg_code seal_key(const struct etsi_job *job, size_t i, struct tg_error *err)
{
    struct store_sae_key *row = &job->sealed[i];
    TG_CLEANUP(secret_cleanup) struct secret *padded = secret_new(AT_REST_KEY_LEN);
    TG_ENSURE(padded != NULL, err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key");
    memcpy(secret_bytes(padded), secret_view(job->keys.bytes) + i * job->keys.key_len, job->keys.key_len);
    ticket_new_key_id(job->keys.ids[i]);
    memcpy(row->key_id, job->keys.ids[i], TICKET_KEY_ID_LEN);
    snprintf(row->master, sizeof row->master, "%s", job->master);
    snprintf(row->slave, sizeof row->slave, "%s", job->slave);
    row->bits = (uint32_t)job->keys.key_len * 8;
    row->created_s = job->ks->now_s();
    row->expires_s = row->created_s + (uint64_t)job->server->config->key_lifetime / 1000;
    const struct at_rest_name name = {AT_REST_SAE_KEY, row->key_id, TICKET_KEY_ID_LEN};
    return at_rest_seal(job->ks->keyring, &name, secret_view(padded), &row->key, err);
}

static enum tg_code make_keys(struct etsi_job *job, const struct etsi014_request *request,
                              struct tg_error *err)
{
    struct source *source = job->ks->source;
    TG_TRY(etsi014_keys_init(&job->keys, request->number, request->size / 8, err));
    job->sealed = calloc(request->number, sizeof *job->sealed);
    TG_ENSURE(job->sealed != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for %u keys", request->number);
    TG_TRY(source->draw(source, job->keys.bytes, err));
    for (size_t i = 0; i < job->keys.count; i++)
        TG_TRY(seal_key(job, i, err));
    return TG_OK;
}

/* ---- the transaction, and the answer ---- */

static enum tg_code apply(struct etsi_job *job, struct store *store, struct tg_error *err)
{
    uint64_t waiting = 0;
    TG_TRY(store->ops->sae_key_count(store, job->master, job->slave, &waiting, err));
    TG_ENSURE(waiting + job->keys.count <= ETSI_KEYS_PER_PAIR, err, TG_RESOURCE_EXHAUSTED,
              "the slave SAE has %u keys to fetch before there is room for more", (unsigned)waiting);
    for (size_t i = 0; i < job->keys.count; i++) {
        const struct at_rest_name name = {AT_REST_SAE_KEY, job->sealed[i].key_id, TICKET_KEY_ID_LEN};
        TG_TRY(at_rest_renew(job->ks->keyring, &name, &job->sealed[i].key, err));
    }
    return store->ops->sae_key_add(store, job->sealed, job->keys.count, err);
}

static void count(struct etsi_job *job)
{
    atomic_fetch_add(&job->server->made, job->keys.count);
}

static char *body(const struct etsi_job *job, size_t *len)
{
    return etsi014_keys_encode(&job->keys, len);
}

void etsi_enc_keys(struct http_request *http)
{
    static const struct etsi_job_kind kind = {
        .event = "sae.keys_made", .apply = apply, .count = count, .body = body};
    struct etsi014_request request;
    struct tg_error err;
    struct etsi_job *job = etsi_job_new(http, &kind, true);
    if (job == NULL)
        return;
    if (read_request(http, &request, &err) != TG_OK || check(&request, &err) != TG_OK ||
        make_keys(job, &request, &err) != TG_OK)
        etsi_job_refuse(job, err.code, err.text);
    else
        etsi_job_submit(job);
}
