/* Key containers (clause 6.3). Written by hand and not by jansson: base64 and UUIDs need no escapes, and keys
 * stand in one buffer more, not in three. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/json.h"
#include "common/etsi014/message.h"

enum { BASE64_MAX = (ETSI014_KEY_BYTES_MAX + 2) / 3 * 4, ITEM_MAX = 32 + ETSI014_ID_TEXT_LEN + BASE64_MAX };

enum tg_code etsi014_keys_init(struct etsi014_keys *keys, size_t count, size_t key_len, struct tg_error *err)
{
    TG_INVARIANT(count >= 1 && count <= ETSI014_KEYS_MAX && key_len >= 1 && key_len <= ETSI014_KEY_BYTES_MAX);
    *keys = (struct etsi014_keys){.count = count, .key_len = key_len};
    keys->ids = calloc(count, sizeof *keys->ids);
    keys->bytes = secret_new(count * key_len);
    if (keys->ids != NULL && keys->bytes != NULL)
        return TG_OK;
    etsi014_keys_fini(keys);
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no locked memory left for %zu keys: raise locked_memory",
                   count);
}

void etsi014_keys_fini(struct etsi014_keys *keys)
{
    free(keys->ids);
    secret_free(keys->bytes);
    *keys = (struct etsi014_keys){0};
}

/* ---- encode ---- */

static char *put(char *at, const char *text)
{
    return stpcpy(at, text);
}

char *etsi014_keys_encode(const struct etsi014_keys *keys, size_t *len)
{
    char *body = malloc(sizeof "{\"keys\":[]}" + keys->count * ITEM_MAX);
    if (body == NULL)
        return NULL;
    char *at = put(body, "{\"keys\":[");
    for (size_t i = 0; i < keys->count; i++) {
        at = put(at, i == 0 ? "{\"key_ID\":\"" : ",{\"key_ID\":\"");
        ticket_key_id_text(keys->ids[i], at);
        at = put(at + ETSI014_ID_TEXT_LEN, "\",\"key\":\"");
        at +=
            EVP_EncodeBlock((uint8_t *)at, secret_view(keys->bytes) + i * keys->key_len, (int)keys->key_len);
        at = put(at, "\"}");
    }
    at = put(at, "]}");
    *len = (size_t)(at - body);
    return body;
}

/* ---- decode ---- */

/* Padded base64 (RFC 4648 4) of exactly `len` bytes. EVP_DecodeBlock lets blanks pass: length and alphabet
 * are looked at first. */
static bool decode_key(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[BASE64_MAX / 4 * 3];
    size_t padding = (3 - len % 3) % 3;
    if (text_len != (len + 2) / 3 * 4 || strspn(text, alphabet) != text_len - padding ||
        strspn(text + text_len - padding, "=") != padding)
        return false;
    bool good = EVP_DecodeBlock(bytes, (const uint8_t *)text, (int)text_len) == (int)(len + padding);
    if (good)
        memcpy(out, bytes, len);
    secret_wipe(bytes, sizeof bytes);
    return good;
}

static enum tg_code take_key(const json_t *item, size_t i, struct etsi014_keys *keys, struct tg_error *err)
{
    const char *id = json_string_value(json_object_get(item, "key_ID"));
    const json_t *key = json_object_get(item, "key");
    TG_ENSURE(id != NULL && etsi014_id_decode(id, keys->ids[i]), err, TG_DATA_LOSS,
              "a key_ID in the key container is not a UUID");
    for (size_t j = 0; j < i; j++)
        TG_ENSURE(memcmp(keys->ids[i], keys->ids[j], TICKET_KEY_ID_LEN) != 0, err, TG_DATA_LOSS,
                  "the key container holds the key %s twice", id);
    TG_ENSURE(json_is_string(key) && decode_key(json_string_value(key), json_string_length(key),
                                                secret_bytes(keys->bytes) + i * keys->key_len, keys->key_len),
              err, TG_DATA_LOSS, "a key in the key container is not %zu bits in base64", keys->key_len * 8);
    return TG_OK;
}

/* Some KMEs write "Keys". */
static const json_t *find_list(const json_t *json)
{
    const json_t *list = json_object_get(json, "keys");
    return list != NULL ? list : json_object_get(json, "Keys");
}

enum tg_code etsi014_keys_decode(const char *body, size_t len, size_t count, size_t key_len,
                                 struct etsi014_keys *out, struct tg_error *err)
{
    TG_CLEANUP(etsi014_json_cleanup) json_t *json = NULL;
    TG_TRY(etsi014_json_parse("the key container", body, len, TG_DATA_LOSS, &json, err));
    const json_t *list = find_list(json);
    TG_ENSURE(json_is_array(list), err, TG_DATA_LOSS, "the key container has no list of keys");
    TG_ENSURE(json_array_size(list) == count, err, TG_DATA_LOSS,
              "the key container holds %zu keys instead of %zu", json_array_size(list), count);
    TG_TRY(etsi014_keys_init(out, count, key_len, err));
    for (size_t i = 0; i < count; i++) {
        enum tg_code code = take_key(json_array_get(list, i), i, out, err);
        if (code != TG_OK) {
            etsi014_keys_fini(out);
            return code;
        }
    }
    return TG_OK;
}
