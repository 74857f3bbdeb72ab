/* Status (clause 6.1) and errors (clause 6.5). */
#include <stddef.h>

#include "common/etsi014/json.h"
#include "common/etsi014/message.h"
#include "common/utf8.h"

/* ---- status ---- */

struct member {
    const char *name;
    size_t offset;
};
#define MEMBER(name_, field)                                                                                 \
    {                                                                                                        \
        name_, offsetof(struct etsi014_status, field)                                                        \
    }
static const struct member texts[] = {
    MEMBER("source_KME_ID", source_kme),
    MEMBER("target_KME_ID", target_kme),
    MEMBER("master_SAE_ID", master_sae),
    MEMBER("slave_SAE_ID", slave_sae),
};
static const struct member numbers[] = {
    MEMBER("key_size", key_size),
    MEMBER("stored_key_count", stored_key_count),
    MEMBER("max_key_count", max_key_count),
    MEMBER("max_key_per_request", max_key_per_request),
    MEMBER("max_key_size", max_key_size),
    MEMBER("min_key_size", min_key_size),
    MEMBER("max_SAE_ID_count", max_sae_id_count),
};
enum { TEXTS = sizeof texts / sizeof *texts, NUMBERS = sizeof numbers / sizeof *numbers };

char *etsi014_status_encode(const struct etsi014_status *status, size_t *len)
{
    const char *base = (const char *)status;
    json_t *json = json_object();
    for (size_t i = 0; i < TEXTS; i++)
        json_object_set_new(json, texts[i].name, json_string(base + texts[i].offset));
    for (size_t i = 0; i < NUMBERS; i++) {
        const uint32_t *number = (const void *)(base + numbers[i].offset);
        json_object_set_new(json, numbers[i].name, json_integer(*number));
    }
    return etsi014_json_print(json, len);
}

enum tg_code etsi014_status_decode(const char *body, size_t len, struct etsi014_status *out,
                                   struct tg_error *err)
{
    TG_CLEANUP(etsi014_json_cleanup) json_t *json = NULL;
    TG_TRY(etsi014_json_parse("the status", body, len, TG_DATA_LOSS, &json, err));
    *out = (struct etsi014_status){0};
    char *base = (char *)out;
    for (size_t i = 0; i < TEXTS; i++)
        TG_ENSURE(etsi014_json_text(json, texts[i].name, base + texts[i].offset, NAME_TEXT_MAX + 1), err,
                  TG_DATA_LOSS, "%s in the status is not a text of at most %d bytes", texts[i].name,
                  NAME_TEXT_MAX);
    for (size_t i = 0; i < NUMBERS; i++)
        TG_ENSURE(etsi014_json_number(json, numbers[i].name, (void *)(base + numbers[i].offset)), err,
                  TG_DATA_LOSS, "%s in the status is not a whole number", numbers[i].name);
    return TG_OK;
}

/* ---- errors ---- */

char *etsi014_error_encode(const char *message, size_t *len)
{
    return etsi014_json_print(json_pack("{s:s}", "message", message), len);
}

void etsi014_error_decode(const char *body, size_t len, char *out, size_t size)
{
    TG_CLEANUP(etsi014_json_cleanup) json_t *json = NULL;
    out[0] = '\0';
    if (etsi014_json_parse("", body, len, TG_DATA_LOSS, &json, NULL) != TG_OK)
        return;
    const json_t *message = json_object_get(json, "message");
    if (json_is_string(message))
        utf8_clean(out, size, json_string_value(message), json_string_length(message), false);
}
