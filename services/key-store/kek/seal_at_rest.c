#include "services/key-store/kek/seal_at_rest.h"

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

static enum tg_code wrapping_key(const struct keyring *ring, uint32_t kek,
                                 const uint8_t salt[AT_REST_SALT_LEN], struct secret **out,
                                 struct tg_error *err)
{
    char hex[2 * AT_REST_SALT_LEN + 1];
    char label[sizeof LABEL_AT_REST_WRAP + 1 + sizeof hex];
    hex_encode(salt, AT_REST_SALT_LEN, hex);
    snprintf(label, sizeof label, "%s %s", LABEL_AT_REST_WRAP, hex);
    enum tg_code code = keyring_derive(ring, kek, label, out, err);
    TG_ENSURE(
        code != TG_NOT_FOUND, err, TG_UNAVAILABLE,
        "a key in the database is wrapped by KEK %u, which this key store does not have: add it to keks",
        kek);
    return code;
}

/* Under the newest KEK, with a fresh salt. */
static enum tg_code wrap(const struct keyring *ring, const struct at_rest_name *name,
                         const struct secret *data_key, struct at_rest *out, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *key = NULL;
    out->kek = keyring_newest(ring);
    random_bytes(out->wrapped, AT_REST_SALT_LEN);
    TG_TRY(wrapping_key(ring, out->kek, out->wrapped, &key, err));
    struct aad aad = aad_of(name, out->kek);
    return gcm_seal(key, nonce_zero, aad.bytes, aad.len, secret_view(data_key), GCM_KEY_LEN,
                    out->wrapped + AT_REST_SALT_LEN, err);
}

enum tg_code at_rest_seal(const struct keyring *ring, const struct at_rest_name *name, const void *key,
                          struct at_rest *out, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *data_key = secret_random(GCM_KEY_LEN);
    TG_ENSURE(data_key != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    struct aad aad = aad_of(name, 0);
    TG_TRY(gcm_seal(data_key, nonce_zero, aad.bytes + AAD_INNER, aad.len - AAD_INNER, key, AT_REST_KEY_LEN,
                    out->sealed, err));
    return wrap(ring, name, data_key, out, err);
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

static enum tg_code unwrap(const struct keyring *ring, const struct at_rest_name *name,
                           const struct at_rest *in, struct secret **data_key, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *key = NULL;
    TG_TRY(wrapping_key(ring, in->kek, in->wrapped, &key, err));
    struct aad aad = aad_of(name, in->kek);
    return open_layer(key, aad.bytes, aad.len, in->wrapped + AT_REST_SALT_LEN,
                      AT_REST_WRAPPED_LEN - AT_REST_SALT_LEN, data_key, err);
}

enum tg_code at_rest_open(const struct keyring *ring, const struct at_rest_name *name,
                          const struct at_rest *in, struct secret **key, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *data_key = NULL;
    TG_TRY(unwrap(ring, name, in, &data_key, err));
    struct aad aad = aad_of(name, in->kek);
    return open_layer(data_key, aad.bytes + AAD_INNER, aad.len - AAD_INNER, in->sealed, AT_REST_SEALED_LEN,
                      key, err);
}

enum tg_code at_rest_rewrap(const struct keyring *ring, const struct at_rest_name *name,
                            const struct at_rest *in, struct at_rest *out, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *data_key = NULL;
    TG_TRY(unwrap(ring, name, in, &data_key, err));
    memcpy(out->sealed, in->sealed, sizeof out->sealed);
    return wrap(ring, name, data_key, out, err);
}

enum tg_code at_rest_renew(const struct keyring *ring, const struct at_rest_name *name, struct at_rest *key,
                           struct tg_error *err)
{
    if (key->kek == keyring_newest(ring))
        return TG_OK;
    const struct at_rest before = *key;
    return at_rest_rewrap(ring, name, &before, key, err);
}
