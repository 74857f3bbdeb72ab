#include "common/ticket_info.h"

#include <openssl/crypto.h>
#include <string.h>

#include "common/gcm.h"
#include "common/pb.h"
#include "common/protocol/labels.h"
#include "common/protocol/suite.h"
#include "proto/key_store.pb-c.h"

enum {
    SEALED_KEY_LEN = QUANTUM_KEY_LEN + GCM_TAG_LEN,
    FIELDS = 6,
    AAD_MAX = FIELDS * 4 + TICKET_LEN + 4 * TICKET_INFO_TEXT_MAX + REQUEST_ID_LEN,
    MESSAGE_MAX = 1024 /* packed; comes out below 800 */
};

struct aad {
    uint8_t bytes[AAD_MAX];
    size_t len;
};

/* Length first, so that no two sets of fields share an encoding. */
static void aad_add(struct aad *aad, const void *data, size_t len)
{
    TG_INVARIANT(aad->len + 4 + len <= sizeof aad->bytes);
    uint8_t *at = aad->bytes + aad->len;
    at[0] = at[1] = 0;
    at[2] = (uint8_t)(len >> 8);
    at[3] = (uint8_t)len;
    memcpy(at + 4, data, len);
    aad->len += 4 + len;
}

static struct aad aad_of(const struct ticket_info *info, const uint8_t request_id[REQUEST_ID_LEN])
{
    struct aad aad = {.len = 0};
    aad_add(&aad, info->ticket, sizeof info->ticket);
    aad_add(&aad, info->qkud_id, strlen(info->qkud_id));
    aad_add(&aad, info->shield_id, strlen(info->shield_id));
    aad_add(&aad, info->owner, strlen(info->owner));
    aad_add(&aad, info->policy, strlen(info->policy));
    aad_add(&aad, request_id, REQUEST_ID_LEN);
    return aad;
}

/* A QKUD's key lives for years and seals thousands of messages a second, more than random 96-bit nonces are
 * good for under one key (NIST SP 800-38D 8.3: 2^32). So each message has its own key. */
static struct secret *message_key(const struct secret *qkud_key, const uint8_t request_id[REQUEST_ID_LEN],
                                  const uint8_t nonce[GCM_NONCE_LEN])
{
    const struct suite_part parts[] = {{LABEL_TICKET_INFO, sizeof LABEL_TICKET_INFO - 1},
                                       {request_id, REQUEST_ID_LEN},
                                       {nonce, GCM_NONCE_LEN}};
    return suite_hmac(suite_find(SUITE_AES256_GCM_SHA256), qkud_key, parts, 3);
}

static enum tg_code pack(const struct ticket_info *info, const uint8_t request_id[REQUEST_ID_LEN],
                         const uint8_t nonce[GCM_NONCE_LEN], const uint8_t sealed[SEALED_KEY_LEN],
                         uint8_t **out, size_t *out_len, struct tg_error *err)
{
    Tg__SealedTicketInfo m = TG__SEALED_TICKET_INFO__INIT;
    m.ticket = pb_bytes(info->ticket, sizeof info->ticket);
    m.qkud_id = pb_string(info->qkud_id);
    m.shield_id = pb_string(info->shield_id);
    m.owner = pb_string(info->owner);
    m.policy = pb_string(info->policy);
    m.request_id = pb_bytes(request_id, REQUEST_ID_LEN);
    m.nonce = pb_bytes(nonce, GCM_NONCE_LEN);
    m.sealed_key = pb_bytes(sealed, SEALED_KEY_LEN);
    *out = pb_pack(&m.base, out_len);
    TG_ENSURE(*out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for ticket info");
    return TG_OK;
}

enum tg_code ticket_info_seal(const struct ticket_info *info, const struct secret *key,
                              const struct secret *qkud_key, const uint8_t request_id[REQUEST_ID_LEN],
                              uint8_t **out, size_t *out_len, struct tg_error *err)
{
    TG_INVARIANT(secret_len(key) == QUANTUM_KEY_LEN && secret_len(qkud_key) == GCM_KEY_LEN);
    uint8_t nonce[GCM_NONCE_LEN];
    uint8_t sealed[SEALED_KEY_LEN];
    struct aad aad = aad_of(info, request_id);
    random_bytes(nonce, sizeof nonce);
    TG_CLEANUP(secret_cleanup) struct secret *once = message_key(qkud_key, request_id, nonce);
    TG_ENSURE(once != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    TG_TRY(gcm_seal(once, nonce, aad.bytes, aad.len, secret_view(key), QUANTUM_KEY_LEN, sealed, err));
    return pack(info, request_id, nonce, sealed, out, out_len, err);
}

static bool keep_text(const char *text, char out[TICKET_INFO_TEXT_MAX + 1])
{
    size_t len = strnlen(text, TICKET_INFO_TEXT_MAX + 1);
    if (len > TICKET_INFO_TEXT_MAX)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static enum tg_code keep(const Tg__SealedTicketInfo *m, struct ticket_info *info, struct tg_error *err)
{
    TG_ENSURE(m->ticket.len == TICKET_LEN && m->request_id.len == REQUEST_ID_LEN &&
                  m->nonce.len == GCM_NONCE_LEN && m->sealed_key.len == SEALED_KEY_LEN,
              err, TG_INVALID_ARGUMENT, "ticket info has a field of wrong length");
    TG_ENSURE(keep_text(m->qkud_id, info->qkud_id) && keep_text(m->shield_id, info->shield_id) &&
                  keep_text(m->owner, info->owner) && keep_text(m->policy, info->policy),
              err, TG_INVALID_ARGUMENT, "ticket info has a text over %d bytes", TICKET_INFO_TEXT_MAX);
    memcpy(info->ticket, m->ticket.data, TICKET_LEN);
    return TG_OK;
}

static enum tg_code open_key(const Tg__SealedTicketInfo *m, const struct ticket_info *info,
                             const struct secret *qkud_key, const uint8_t request_id[REQUEST_ID_LEN],
                             struct secret **key, struct tg_error *err)
{
    TG_INVARIANT(secret_len(qkud_key) == GCM_KEY_LEN);
    struct aad aad = aad_of(info, request_id);
    TG_CLEANUP(secret_cleanup) struct secret *once = message_key(qkud_key, request_id, m->nonce.data);
    TG_ENSURE(once != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    enum tg_code code =
        gcm_open(once, m->nonce.data, aad.bytes, aad.len, m->sealed_key.data, m->sealed_key.len, key, err);
    TG_ENSURE(
        code != TG_UNAUTHENTICATED, err, code,
        "ticket info does not open: altered, or sealed to another gateway (is this the QKUD's key file?)");
    return code;
}

enum tg_code ticket_info_open(const void *in, size_t len, const struct secret *qkud_key, const char *qkud_id,
                              const uint8_t ticket[TICKET_LEN], const uint8_t request_id[REQUEST_ID_LEN],
                              struct ticket_info *info, struct secret **key, struct tg_error *err)
{
    TG_ENSURE(len > 0 && len <= MESSAGE_MAX, err, TG_INVALID_ARGUMENT, "ticket info of %zu bytes is not one",
              len);
    TG_CLEANUP(pb_cleanup)
    ProtobufCMessage *message = pb_unpack(&tg__sealed_ticket_info__descriptor, in, len);
    TG_ENSURE(message != NULL, err, TG_INVALID_ARGUMENT, "ticket info is malformed");
    const Tg__SealedTicketInfo *m = (const Tg__SealedTicketInfo *)message;
    TG_TRY(keep(m, info, err));
    TG_ENSURE(memcmp(info->ticket, ticket, TICKET_LEN) == 0 && strcmp(info->qkud_id, qkud_id) == 0 &&
                  CRYPTO_memcmp(m->request_id.data, request_id, REQUEST_ID_LEN) == 0,
              err, TG_UNAUTHENTICATED, "ticket info answers another request, or another gateway's");
    return open_key(m, info, qkud_key, request_id, key, err);
}
