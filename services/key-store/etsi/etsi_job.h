/* One request of an SAE on its way, as task.h has it for RPC: transaction, then durable audit, then answer.
 */
#ifndef TG_KEY_STORE_ETSI_JOB_H
#define TG_KEY_STORE_ETSI_JOB_H

#include <stdatomic.h>

#include "common/etsi014/message.h"
#include "services/key-store/etsi/etsi_server.h"
#include "services/key-store/key-store.h"

struct etsi_server {
    struct key_store *ks;
    const struct etsi_config *config;
    struct http_server *http;
    atomic_uint_fast64_t made, taken, refused; /* struct etsi_counts */
};

struct etsi_job;

struct etsi_job_kind {
    const char *event; /* audited before the answer; NULL: a read */
    /* On the writer's thread, within the transaction. */
    enum tg_code (*apply)(struct etsi_job *job, struct store *store, struct tg_error *err);
    void (*count)(struct etsi_job *job);                    /* just before the answer; may be NULL */
    char *(*body)(const struct etsi_job *job, size_t *len); /* of the answer; for etsi014_body_free */
};

struct etsi_job {
    struct work work;
    const struct etsi_job_kind *kind;
    struct etsi_server *server;
    struct key_store *ks;
    struct http_request *request;
    struct trace trace;
    uint64_t deadline_ms;
    const char *caller; /* one of the two below; the configuration's, as they are */
    const char *master, *slave;
    const char *source;           /* name of the store's; static */
    struct etsi014_keys keys;     /* asked for or given */
    struct store_sae_key *sealed; /* keys.count of them, or NULL */
    struct etsi014_status status;
};

/* What an SAE is to hear: codes are turned into the standard's (docs/etsi014.md).
 *   INVALID_ARGUMENT    400, the text
 *   NOT_FOUND           400, one or more keys specified are not found on KME
 *   UNAUTHENTICATED     401, nothing
 *   RESOURCE_EXHAUSTED  503, the text
 *   anything else       503, as little as possible */

/* A new job for a caller whom the configuration names and a pair of which it is one. NULL: the request has
 * been answered. */
struct etsi_job *etsi_job_new(struct http_request *request, const struct etsi_job_kind *kind,
                              bool caller_is_master);
/* Takes the job over. */
void etsi_job_submit(struct etsi_job *job);
/* Answers with a refusal, and audits it when it is a verdict on the caller. */
void etsi_job_refuse(struct etsi_job *job, enum tg_code code, const char *text);

http_handler etsi_status, etsi_enc_keys, etsi_dec_keys; /* etsi_status.c, etsi_enc_keys.c, etsi_dec_keys.c */

#endif
