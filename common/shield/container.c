#include "common/shield/container.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "common/protocol/labels.h"
#include "common/trace.h"

static const char magic[] = "TGSHIELD";
enum {
    VERSION = 1,
    VERSION_AT = 8,
    COST_AT = 9,
    SALT_AT = 12,
    NONCE_AT = SALT_AT + CONTAINER_SALT_LEN,
    ID_LEN_AT = NONCE_AT + GCM_NONCE_LEN,
    ID_AT = CONTAINER_FIXED_LEN,
    SCRYPT_MEMORY_MAX = 160 * 1024 * 1024
};
_Static_assert(ID_LEN_AT + 1 == ID_AT, "the fields fill the header");
_Static_assert(SCRYPT_MEMORY_MAX / 128 / CONTAINER_R > 1 << CONTAINER_LOG2_N_MAX,
               "scrypt may use what it needs");

static enum tg_code check_cost(const struct container *c, struct tg_error *err)
{
    TG_ENSURE(c->log2_n >= CONTAINER_LOG2_N_MIN && c->log2_n <= CONTAINER_LOG2_N_MAX && c->r == CONTAINER_R &&
                  c->p >= 1 && c->p <= CONTAINER_P_MAX,
              err, TG_DATA_LOSS,
              "shield container asks for scrypt N=2^%u r=%u p=%u: damaged, or made to do harm", c->log2_n,
              c->r, c->p);
    return TG_OK;
}

enum tg_code container_peek(const uint8_t *bytes, size_t len, struct container *out, struct tg_error *err)
{
    TG_ENSURE(len >= CONTAINER_FIXED_LEN && memcmp(bytes, magic, VERSION_AT) == 0, err, TG_DATA_LOSS,
              "not a shield container");
    TG_ENSURE(bytes[VERSION_AT] == VERSION, err, TG_DATA_LOSS, "shield container has version %u, not %d",
              bytes[VERSION_AT], VERSION);
    struct container c = {.log2_n = bytes[COST_AT], .r = bytes[COST_AT + 1], .p = bytes[COST_AT + 2]};
    TG_TRY(check_cost(&c, err));
    memcpy(c.salt, bytes + SALT_AT, sizeof c.salt);
    size_t id_len = bytes[ID_LEN_AT];
    TG_ENSURE(id_len <= NAME_ID_MAX && len >= ID_AT + id_len + GCM_TAG_LEN, err, TG_DATA_LOSS,
              "shield container is cut off or damaged");
    memcpy(c.shield_id, bytes + ID_AT, id_len);
    TG_ENSURE(strlen(c.shield_id) == id_len && name_check_id("shield id", c.shield_id, NULL) == TG_OK, err,
              TG_DATA_LOSS, "shield container is damaged: its shield id is none");
    size_t body = len - ID_AT - id_len - GCM_TAG_LEN;
    TG_ENSURE(body % sizeof(struct slot) == 0 && body / sizeof(struct slot) <= KEYCHAIN_MAX, err,
              TG_DATA_LOSS, "shield container is cut off or damaged");
    *out = c;
    return TG_OK;
}

static struct secret *scrypt(const struct container *c, const struct secret *pin)
{
    struct secret *out = secret_new(GCM_KEY_LEN);
    uint64_t n = UINT64_C(1) << c->log2_n;
    uint32_t r = c->r;
    uint32_t p = c->p;
    uint64_t memory = SCRYPT_MEMORY_MAX;
    union {
        const uint8_t *in;
        void *out;
    } pin_bytes = {.in = secret_view(pin)}, salt = {.in = c->salt};
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, pin_bytes.out, secret_len(pin)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.out, sizeof c->salt),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
        OSSL_PARAM_END};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    if (out != NULL && (ctx == NULL || EVP_KDF_derive(ctx, secret_bytes(out), GCM_KEY_LEN, params) != 1)) {
        secret_free(out);
        out = NULL;
        ERR_clear_error();
    }
    EVP_KDF_CTX_free(ctx); /* wipes its copy of the PIN */
    EVP_KDF_free(kdf);
    return out;
}

enum tg_code container_unlock(struct container *container, const struct secret *pin, struct tg_error *err)
{
    const struct suite *sha256 = suite_find(SUITE_AES256_GCM_SHA256);
    TG_CLEANUP(secret_cleanup) struct secret *pin_key = scrypt(container, pin);
    TG_ENSURE(pin_key != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to check the PIN: scrypt needs %u MiB",
              (1U << container->log2_n) / 1024);
    container->body_key = suite_expand(sha256, pin_key, LABEL_SHIELD_BODY);
    container->seal_key = suite_expand(sha256, pin_key, LABEL_SHIELD_KEYS);
    TG_ENSURE(container->body_key != NULL && container->seal_key != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key (ulimit -l)");
    return TG_OK;
}

static enum tg_code check_slots(const struct slots *slots, struct tg_error *err)
{
    struct ticket ignored;
    for (size_t i = 0; i < slots->count; i++)
        TG_ENSURE(ticket_peek(slots->at[i].ticket, TICKET_LEN, &ignored, err) == TG_OK, err, TG_DATA_LOSS,
                  "shield container holds a ticket of unknown version: update this program");
    return TG_OK;
}

enum tg_code container_open(const struct container *container, const uint8_t *bytes, size_t len,
                            struct slots *out, struct tg_error *err)
{
    size_t body_at = ID_AT + strlen(container->shield_id);
    TG_INVARIANT(len >= body_at + GCM_TAG_LEN);
    size_t body = len - body_at - GCM_TAG_LEN;
    struct slots slots = {.at = malloc(body + 1), .count = body / sizeof(struct slot)};
    TG_ENSURE(slots.at != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the shield's entries");
    enum tg_code code = gcm_open_plain(container->body_key, bytes + NONCE_AT, bytes, body_at, bytes + body_at,
                                       body + GCM_TAG_LEN, (uint8_t *)slots.at, err);
    if (code == TG_UNAUTHENTICATED)
        tg_fail(err, code, "wrong PIN, or the shield container was altered");
    if (code == TG_OK)
        code = check_slots(&slots, err);
    if (code != TG_OK) {
        free(slots.at);
        return code;
    }
    *out = slots;
    return TG_OK;
}

static void put_header(const struct container *c, uint8_t *out)
{
    memcpy(out, magic, VERSION_AT);
    out[VERSION_AT] = VERSION;
    out[COST_AT] = c->log2_n;
    out[COST_AT + 1] = c->r;
    out[COST_AT + 2] = c->p;
    memcpy(out + SALT_AT, c->salt, sizeof c->salt);
    random_bytes(out + NONCE_AT, GCM_NONCE_LEN);
    out[ID_LEN_AT] = (uint8_t)strlen(c->shield_id);
    memcpy(out + ID_AT, c->shield_id, strlen(c->shield_id));
}

enum tg_code container_seal(const struct container *container, const struct slots *slots, uint8_t **bytes,
                            size_t *len, struct tg_error *err)
{
    size_t body_at = ID_AT + strlen(container->shield_id);
    size_t body = slots->count * sizeof(struct slot);
    TG_INVARIANT(slots->count <= KEYCHAIN_MAX);
    uint8_t *out = malloc(body_at + body + GCM_TAG_LEN);
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the shield container");
    put_header(container, out);
    enum tg_code code =
        gcm_seal(container->body_key, out + NONCE_AT, out, body_at, slots->at, body, out + body_at, err);
    if (code != TG_OK) {
        free(out);
        return code;
    }
    *bytes = out;
    *len = body_at + body + GCM_TAG_LEN;
    return TG_OK;
}

void container_fini(struct container *container)
{
    secret_free(container->body_key);
    secret_free(container->seal_key);
}
