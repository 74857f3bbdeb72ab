/* Keys of signed notes. */
#include "services/audit/log/note_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"

static const struct note_kind kinds[] = {
    {NOTE_ED25519, "ED25519", 32},
    {NOTE_COSIGNATURE, "ED25519", 32},
    {NOTE_ML_DSA_44, "ML-DSA-44", 1312},
};

void base64_encode(const void *bytes, size_t len, char *out)
{
    EVP_EncodeBlock((uint8_t *)out, bytes, (int)len);
}

long base64_decode(const char *text, size_t text_len, void *out, size_t max)
{
    if (text_len == 0)
        return 0;
    if (text_len % 4 != 0 || text_len / 4 * 3 > max + 2 || text_len > INT32_MAX)
        return -1;
    uint8_t *bytes = malloc(text_len);
    char *again = malloc(text_len + 1);
    long len =
        bytes == NULL || again == NULL ? -1 : EVP_DecodeBlock(bytes, (const uint8_t *)text, (int)text_len);
    if (len >= 0) {
        len -= (text[text_len - 1] == '=') + (text[text_len - 2] == '=');
        base64_encode(bytes, (size_t)len, again); /* OpenSSL passes over blanks and left-over bits */
        if ((size_t)len > max || memcmp(again, text, text_len) != 0)
            len = -1;
        else
            memcpy(out, bytes, (size_t)len);
    }
    free(bytes);
    free(again);
    return len;
}

enum tg_code note_check_name(const char *name, struct tg_error *err)
{
    size_t len = strnlen(name, NOTE_NAME_MAX + 1);
    bool good = len > 0 && len <= NOTE_NAME_MAX;
    for (size_t i = 0; good && i < len; i++)
        good = name[i] > ' ' && name[i] < 0x7f && name[i] != '+';
    TG_ENSURE(good, err, TG_FAILED_PRECONDITION,
              "\"%.64s\" cannot name a log: 1 to %d visible ASCII characters without '+'", name,
              NOTE_NAME_MAX);
    return TG_OK;
}

const struct note_kind *note_kind(uint8_t type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].type == type)
            return &kinds[i];
    }
    return NULL;
}

/* SHA-256(name, line feed, type, public key), the first four bytes */
void note_key_make_id(struct note_key *key)
{
    uint8_t digest[32];
    uint8_t head[2] = {'\n', key->type};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(context, key->name, strlen(key->name)) == 1 &&
             EVP_DigestUpdate(context, head, sizeof head) == 1 &&
             EVP_DigestUpdate(context, key->public, key->public_len) == 1 &&
             EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    TG_INVARIANT(ok);
    memcpy(key->id, digest, NOTE_ID_LEN);
}

enum tg_code note_key_new(struct note_keys *keys, const char *name, struct note_key **out,
                          struct tg_error *err)
{
    TG_TRY(note_check_name(name, err));
    TG_ENSURE(keys->count < NOTE_KEYS_MAX, err, TG_INVALID_ARGUMENT, "at most %d keys of a log",
              NOTE_KEYS_MAX);
    struct note_key *key = calloc(1, sizeof *key);
    TG_ENSURE(key != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a key");
    snprintf(key->name, sizeof key->name, "%s", name);
    keys->key[keys->count++] = key;
    *out = key;
    return TG_OK;
}

static enum tg_code fill_public(struct note_key *key, const char *hex, const char *base64,
                                struct tg_error *err)
{
    uint8_t bytes[1 + NOTE_PUBLIC_MAX];
    uint8_t id[NOTE_ID_LEN];
    long len = base64_decode(base64, strlen(base64), bytes, sizeof bytes);
    const struct note_kind *kind = len < 1 ? NULL : note_kind(bytes[0]);
    TG_ENSURE(kind != NULL && (size_t)len == 1 + kind->public_len, err, TG_INVALID_ARGUMENT,
              "the key of %s is of a kind that is not known here", key->name);
    key->type = bytes[0];
    key->public_len = kind->public_len;
    memcpy(key->public, bytes + 1, key->public_len);
    note_key_make_id(key);
    TG_ENSURE(hex_decode(hex, NOTE_ID_LEN, id) && hex[(size_t)2 * NOTE_ID_LEN] == '+' &&
                  memcmp(id, key->id, NOTE_ID_LEN) == 0,
              err, TG_INVALID_ARGUMENT, "the key of %s was altered: it does not match its number", key->name);
    key->pkey = EVP_PKEY_new_raw_public_key_ex(NULL, kind->algorithm, NULL, key->public, key->public_len);
    TG_ENSURE(key->pkey != NULL, err, TG_INVALID_ARGUMENT, "this OpenSSL cannot use the %s key of %s",
              kind->algorithm, key->name);
    return TG_OK;
}

enum tg_code note_keys_add_public(struct note_keys *keys, const char *vkey, struct tg_error *err)
{
    char name[NOTE_NAME_MAX + 1];
    struct note_key *key = NULL;
    const char *plus = strchr(vkey, '+');
    const char *second = plus == NULL ? NULL : strchr(plus + 1, '+');
    TG_ENSURE(second != NULL && plus - vkey <= NOTE_NAME_MAX, err, TG_INVALID_ARGUMENT,
              "\"%.64s\" is no log's public key, which looks like name+12345678+base64", vkey);
    snprintf(name, sizeof name, "%.*s", (int)(plus - vkey), vkey);
    TG_TRY(note_key_new(keys, name, &key, err));
    return fill_public(key, plus + 1, second + 1, err);
}

void note_keys_free(struct note_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        EVP_PKEY_free(keys->key[i]->pkey);
        free(keys->key[i]);
    }
    *keys = (struct note_keys){0};
}

const char *note_key_name(const struct note_key *key)
{
    return key->name;
}

void note_key_vkey(const struct note_key *key, char out[NOTE_VKEY_MAX])
{
    uint8_t bytes[1 + NOTE_PUBLIC_MAX];
    char hex[2 * NOTE_ID_LEN + 1];
    char base64[(sizeof bytes + 2) / 3 * 4 + 1];
    bytes[0] = key->type;
    memcpy(bytes + 1, key->public, key->public_len);
    hex_encode(key->id, NOTE_ID_LEN, hex);
    base64_encode(bytes, 1 + key->public_len, base64);
    snprintf(out, NOTE_VKEY_MAX, "%s+%s+%s", key->name, hex, base64);
}
