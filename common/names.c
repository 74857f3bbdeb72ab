#include "common/names.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/utf8.h"

/* Not isalnum(): an id means the same in every locale. */
static bool in_id(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

enum tg_code name_check_id(const char *what, const char *id, struct tg_error *err)
{
    size_t len = strnlen(id, NAME_ID_MAX + 1);
    TG_ENSURE(len > 0, err, TG_INVALID_ARGUMENT, "%s is missing", what);
    TG_ENSURE(len <= NAME_ID_MAX, err, TG_INVALID_ARGUMENT, "%s is longer than %d characters", what,
              NAME_ID_MAX);
    for (size_t i = 0; i < len; i++)
        TG_ENSURE(in_id(id[i]), err, TG_INVALID_ARGUMENT,
                  "%s may hold letters, digits, '.', '_' and '-' only", what);
    return TG_OK;
}

enum tg_code name_check_text(const char *what, const char *text, struct tg_error *err)
{
    size_t len = strnlen(text, NAME_TEXT_MAX + 1);
    TG_ENSURE(len <= NAME_TEXT_MAX, err, TG_INVALID_ARGUMENT, "%s is longer than %d bytes", what,
              NAME_TEXT_MAX);
    for (size_t at = 0; at < len;) {
        uint32_t code = 0;
        size_t step = utf8_decode(text + at, len - at, &code);
        TG_ENSURE(step > 0, err, TG_INVALID_ARGUMENT, "%s is not valid UTF-8", what);
        TG_ENSURE(!utf8_steers(code), err, TG_INVALID_ARGUMENT, "%s holds a control character", what);
        at += step;
    }
    return TG_OK;
}
