#include "common/names.h"

#include <stdbool.h>
#include <string.h>

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
    for (size_t i = 0; i < len; i++)
        TG_ENSURE((unsigned char)text[i] >= 0x20 && text[i] != 0x7f, err, TG_INVALID_ARGUMENT,
                  "%s holds a control character", what);
    return TG_OK;
}
