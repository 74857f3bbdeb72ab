#include "seal_at_rest.h"

#include <stdio.h>
#include <string.h>

#include "common/protocol/labels.h"
#include "common/protocol/suite.h"
#include "common/trace.h"

static const uint8_t nonce_zero[GCM_NONCE_LEN];

/* aad of both layers: KEK id ‖ kind ‖ layout version ‖ id. The inner layer leaves the KEK id out. */
struct aad {
    uint8_t bytes[4 + 1 + 1 + AT_REST_ID_MAX];
    size_t len;
};
enum { AAD_INNER = 4 };

static struct aad aad_of(const struct at_rest_name *name, uint32_t kek)
{
    TG_INVARIANT(name->len > 0 && name->len <= AT_REST_ID_MAX);
    struct aad aad = {.bytes = {(uint8_t)(kek >> 24), (uint8_t)(kek >> 16), (uint8_t)(kek >> 8), (uint8_t)kek,
                                (uint8_t)name->kind, AT_REST_VERSION},
                      .len = 6 + name->len};
    memcpy(aad.bytes + 6, name->id, name->len);
    return aad;
}

static struct secret *wrapping_key(const struct secret *kek, const uint8_t salt[AT_REST_SALT_LEN])
{
    char hex[2 * AT_REST_SALT_LEN + 1];
    char label[sizeof LABEL_AT_REST_WRAP + 1 + sizeof hex];
    hex_encode(salt, AT_REST_SALT_LEN, hex);
    snprintf(label, sizeof label, "%s %s", LABEL_AT_REST_WRAP, hex);
    return suite_expand(suite_find(SUITE_AES256_GCM_SHA256), kek, label);
}

static enum tg_code out_of_locked_memory(struct tg_error *err)
{
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key: raise locked_memory");
}

enum tg_code at_rest_seal(const struct keyring *ring, const struct at_rest_name *name, const void *key,
                          struct at_rest *out, struct tg_error *err)
{
    out->kek = keyring_newest(ring);
    random_bytes(out->wrapped, AT_REST_SALT_LEN);
    TG_CLEANUP(secret_cleanup) struct secret *data_key = secret_random(GCM_KEY_LEN);
    TG_CLEANUP(secret_cleanup) struct secret *wrap = wrapping_key(keyring_find(ring, out->kek), out->wrapped);
    if (data_key == NULL || wrap == NULL)
        return out_of_locked_memory(err);
    struct aad aad = aad_of(name, out->kek);
    TG_TRY(gcm_seal(data_key, nonce_zero, aad.bytes + AAD_INNER, aad.len - AAD_INNER, key, AT_REST_KEY_LEN,
                    out->sealed, err));
    return gcm_seal(wrap, nonce_zero, aad.bytes, aad.len, secret_view(data_key), GCM_KEY_LEN,
                    out->wrapped + AT_REST_SALT_LEN, err);
}

/* gcm_open with a name for what is wrong: here it is the database, not a stranger. */
static enum tg_code open_layer(const struct secret *key, const uint8_t *aad, size_t aad_len,
                               const uint8_t *sealed, size_t len, struct secret **out, struct tg_error *err)
{
    enum tg_code code = gcm_open(key, nonce_zero, aad, aad_len, sealed, len, out, err);
    if (code == TG_UNAUTHENTICATED)
        return tg_fail(err, TG_DATA_LOSS, "a key in the database does not open: its row was altered");
    return code;
}

enum tg_code at_rest_open(const struct keyring *ring, const struct at_rest_name *name,
                          const struct at_rest *in, struct secret **key, struct tg_error *err)
{
    const struct secret *kek = keyring_find(ring, in->kek);
    TG_ENSURE(kek != NULL, err, TG_DATA_LOSS,
              "a key in the database is wrapped by KEK %u, which is not in the keyring", in->kek);
    TG_CLEANUP(secret_cleanup) struct secret *wrap = wrapping_key(kek, in->wrapped);
    if (wrap == NULL)
        return out_of_locked_memory(err);
    struct aad aad = aad_of(name, in->kek);
    TG_CLEANUP(secret_cleanup) struct secret *data_key = NULL;
    TG_TRY(open_layer(wrap, aad.bytes, aad.len, in->wrapped + AT_REST_SALT_LEN,
                      AT_REST_WRAPPED_LEN - AT_REST_SALT_LEN, &data_key, err));
    return open_layer(data_key, aad.bytes + AAD_INNER, aad.len - AAD_INNER, in->sealed, AT_REST_SEALED_LEN,
                      key, err);
}
