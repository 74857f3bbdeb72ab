/* What an SAE sends: key requests (clause 6.2) and key ids (clause 6.4). */
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/json.h"
#include "common/etsi014/message.h"

/* ---- key requests ---- */

char *etsi014_request_encode(const struct etsi014_request *request, size_t *len)
{
    return etsi014_json_print(
        json_pack("{s:I, s:I}", "number", (json_int_t)request->number, "size", (json_int_t)request->size),
        len);
}

/* extension_optional may be ignored, extension_mandatory may not. */
static enum tg_code check_extensions(const json_t *json, struct tg_error *err)
{
    json_t *mandatory = NULL, *optional = NULL;
    TG_ENSURE(etsi014_json_list(json, "extension_optional", &optional), err, TG_INVALID_ARGUMENT,
              "extension_optional shall be an array");
    TG_ENSURE(etsi014_json_list(json, "extension_mandatory", &mandatory), err, TG_INVALID_ARGUMENT,
              "extension_mandatory shall be an array");
    TG_ENSURE(json_array_size(mandatory) == 0, err, TG_INVALID_ARGUMENT, ETSI014_EXTENSION_UNSUPPORTED);
    return TG_OK;
}

enum tg_code etsi014_request_decode(const char *body, size_t len, struct etsi014_request *out,
                                    struct tg_error *err)
{
    out->additional_slaves = 0;
    if (len == 0) /* all members are optional */
        return TG_OK;
    TG_CLEANUP(etsi014_json_cleanup) json_t *json = NULL;
    json_t *slaves = NULL;
    TG_TRY(etsi014_json_parse("the key request", body, len, TG_INVALID_ARGUMENT, &json, err));
    TG_ENSURE(etsi014_json_number(json, "number", &out->number), err, TG_INVALID_ARGUMENT,
              "number shall be a whole number");
    TG_ENSURE(etsi014_json_number(json, "size", &out->size), err, TG_INVALID_ARGUMENT,
              "size shall be a whole number");
    TG_ENSURE(etsi014_json_list(json, "additional_slave_SAE_IDs", &slaves), err, TG_INVALID_ARGUMENT,
              "additional_slave_SAE_IDs shall be an array");
    out->additional_slaves = (uint32_t)json_array_size(slaves);
    return check_extensions(json, err);
}

/* ---- key ids ---- */

bool etsi014_id_decode(const char *text, uint8_t id[TICKET_KEY_ID_LEN])
{
    char lower[ETSI014_ID_TEXT_LEN + 1];
    if (strnlen(text, sizeof lower) != ETSI014_ID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < sizeof lower; i++)
        lower[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    return ticket_key_id_from_text(lower, id, NULL) == TG_OK;
}

char *etsi014_key_ids_encode(const uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t count, size_t *len)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char text[ETSI014_ID_TEXT_LEN + 1];
        ticket_key_id_text(ids[i], text);
        json_array_append_new(list, json_pack("{s:s}", "key_ID", text));
    }
    return etsi014_json_print(json_pack("{s:o}", "key_IDs", list), len);
}

/* The i-th id, which none before it may equal. */
static enum tg_code take_id(const json_t *item, size_t i, uint8_t (*ids)[TICKET_KEY_ID_LEN],
                            struct tg_error *err)
{
    const char *text = json_string_value(json_object_get(item, "key_ID"));
    TG_ENSURE(text != NULL && etsi014_id_decode(text, ids[i]), err, TG_INVALID_ARGUMENT,
              "key_ID shall be a UUID");
    for (size_t j = 0; j < i; j++)
        TG_ENSURE(memcmp(ids[i], ids[j], TICKET_KEY_ID_LEN) != 0, err, TG_INVALID_ARGUMENT,
                  "key_IDs shall not name a key twice");
    return TG_OK;
}

enum tg_code etsi014_key_ids_decode(const char *body, size_t len, size_t max,
                                    uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t *count, struct tg_error *err)
{
    TG_CLEANUP(etsi014_json_cleanup) json_t *json = NULL;
    TG_TRY(etsi014_json_parse("the list of key_IDs", body, len, TG_INVALID_ARGUMENT, &json, err));
    const json_t *list = json_object_get(json, "key_IDs");
    *count = json_array_size(list);
    TG_ENSURE(*count >= 1, err, TG_INVALID_ARGUMENT, "key_IDs shall be an array of at least one key_ID");
    TG_ENSURE(*count <= max, err, TG_INVALID_ARGUMENT, "key_IDs shall name at most %zu keys", max);
    for (size_t i = 0; i < *count; i++)
        TG_TRY(take_id(json_array_get(list, i), i, ids, err));
    return TG_OK;
}
