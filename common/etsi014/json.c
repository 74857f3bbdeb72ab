#include "common/etsi014/json.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/message.h"
#include "common/names.h"

/* ---- memory ---- */

void etsi014_wiping_free(void *pointer)
{
    if (pointer != NULL)
        secret_wipe(pointer, malloc_usable_size(pointer));
    free(pointer);
}

void *etsi014_wiping_realloc(void *pointer, size_t size)
{
    void *fresh = malloc(size > 0 ? size : 1);
    if (fresh == NULL || pointer == NULL)
        return fresh;
    size_t had = malloc_usable_size(pointer);
    memcpy(fresh, pointer, had < size ? had : size);
    etsi014_wiping_free(pointer);
    return fresh;
}

/* jansson copies strings while it reads; what it frees on the way must not keep keys. */
static void use_wiped_memory(void)
{
    json_set_alloc_funcs(malloc, etsi014_wiping_free);
}

void etsi014_body_free(char *body, size_t len)
{
    if (body != NULL)
        secret_wipe(body, len);
    free(body);
}

/* ---- reading ---- */

void etsi014_json_cleanup(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

enum tg_code etsi014_json_parse(const char *what, const char *body, size_t len, enum tg_code code,
                                json_t **out, struct tg_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_wiped_memory);
    json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_object(json);
    if (!good)
        json_decref(json);
    TG_ENSURE(good, err, code, "%s is not a JSON object", what);
    *out = json;
    return TG_OK;
}

bool etsi014_json_number(const json_t *object, const char *name, uint32_t *out)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL || json_is_null(member))
        return true;
    json_int_t value = json_integer_value(member);
    if (!json_is_integer(member) || value < 0 || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

bool etsi014_json_text(const json_t *object, const char *name, char *out, size_t size)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL || json_is_null(member))
        return true;
    const char *text = json_string_value(member);
    if (text == NULL || json_string_length(member) >= size ||
        memchr(text, 0, json_string_length(member)) != NULL || name_check_text(name, text, NULL) != TG_OK)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

bool etsi014_json_list(const json_t *object, const char *name, json_t **out)
{
    json_t *member = json_object_get(object, name);
    *out = json_is_array(member) ? member : NULL;
    return member == NULL || json_is_null(member) || *out != NULL;
}

/* ---- writing ---- */

char *etsi014_json_print(json_t *json, size_t *len)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    *len = text != NULL ? strlen(text) : 0;
    return text;
}
