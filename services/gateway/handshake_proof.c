/* Step 9: the gateway decrypts the encrypted random. Success means that it was not altered and that the
 * client holds the key. Its answer proves that it has the key as well. */
#include "common/log.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "services/gateway/events.h"
#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"

/* root = HMAC-H(k, …): the one use of the quantum key, which is wiped on return. */
static enum tg_code take_key(struct connection *c, const void *ticket_info, size_t len, struct secret **root,
                             struct tg_error *err)
{
    const struct gateway *g = c->worker->gateway;
    struct handshake *h = c->handshake;
    TG_CLEANUP(secret_cleanup) struct secret *key = NULL;
    uint8_t input[SCHEDULE_ROOT_INPUT_LEN];
    TG_TRY(ticket_info_open(ticket_info, len, g->qkud_key, g->qkud_id, h->ticket, h->request_id, &h->info,
                            &key, err));
    schedule_root_input(h->th, h->exporter, input);
    *root = suite_hmac(h->suite, key, &(struct suite_part){.data = input, .len = sizeof input}, 1);
    TG_ENSURE(*root != NULL, err, TG_RESOURCE_EXHAUSTED, "the locked memory for keys is full");
    return TG_OK;
}

static enum tg_code open_digest(struct handshake *h, struct tg_error *err)
{
    TG_TRY(suite_open(h->suite, h->keys.random, 0, h->th, sizeof h->th, h->sealed_digest,
                      h->sealed_digest_len, &h->digest, err));
    secret_free(h->keys.random);
    h->keys.random = NULL;
    return TG_OK;
}

static enum tg_code send_proof(struct connection *c, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    Tg__Authenticated authenticated = TG__AUTHENTICATED__INIT;
    uint8_t proof[SUITE_HASH_LEN];
    size_t len;
    transcript_hash(h->transcript, NULL, 0, h->th);
    TG_TRY(schedule_proof(h->suite, &h->keys, h->th, proof, err));
    secret_free(h->keys.confirm);
    h->keys.confirm = NULL;
    authenticated.proof = pb_bytes(proof, sizeof proof);
    const uint8_t *frame = connection_send_message(c, FRAME_AUTHENTICATED, 0, &authenticated.base, &len);
    transcript_add(h->transcript, frame, len);
    transcript_hash(h->transcript, NULL, 0, h->th); /* HELLO … AUTHENTICATED */
    return TG_OK;
}

static enum tg_code report(struct connection *c, struct tg_error *err)
{
    const struct handshake *h = c->handshake;
    const char *suite = suite_name(h->suite);
    Tg__Event event;
    event_init(&event, c, "handshake.authenticated", NULL);
    TG_ENSURE(audit_post(c->worker->gateway->audit, &event), err, TG_UNAVAILABLE,
              "too many events wait for the audit service");
    LOG(LOG_INFO, c->trace.hex, event.event, LOG_TEXT("source", c->source),
        LOG_TEXT("shield", h->info.shield_id), LOG_TEXT("suite", suite));
    return TG_OK;
}

enum tg_code handshake_proof(struct connection *c, const void *ticket_info, size_t len, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *root = NULL;
    struct handshake *h = c->handshake;
    TG_TRY(take_key(c, ticket_info, len, &root, err));
    TG_TRY(schedule_derive(h->suite, root, &h->keys, err));
    TG_TRY(open_digest(h, err));
    TG_TRY(send_proof(c, err));
    TG_TRY(channel_begin(c, err)); /* first, since the client waits */
    return report(c, err);
}
