/* AES256-GCM-SHA256: the default. */
#include "common/gcm.h"
#include "common/protocol/suite_internal.h"

static enum tg_code seal(const struct suite_message *m, uint8_t *out, struct tg_error *err)
{
    uint8_t nonce[GCM_NONCE_LEN];
    suite_nonce(m->sequence, nonce);
    return gcm_seal(m->key, nonce, m->aad, m->aad_len, m->in, m->len, out, err);
}

static enum tg_code open_sealed(const struct suite_message *m, uint8_t *plain, struct tg_error *err)
{
    uint8_t nonce[GCM_NONCE_LEN];
    suite_nonce(m->sequence, nonce);
    return gcm_open_plain(m->key, nonce, m->aad, m->aad_len, m->in, m->len + GCM_TAG_LEN, plain, err);
}

const struct suite suite_aes_gcm = {
    .number = SUITE_AES256_GCM_SHA256,
    .name = "AES256-GCM-SHA256",
    .tag_len = GCM_TAG_LEN,
    .hash = SUITE_SHA256,
    .seal = seal,
    .open = open_sealed,
};
