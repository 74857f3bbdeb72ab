#include "client/charger/pending.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/trace.h"

enum { FILE_MAX = 1024 };

static void path_of(const char *shield, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s.pending", shield);
}

enum tg_code pending_write(const char *shield, const struct pending *pending, struct tg_error *err)
{
    char path[PATH_MAX], id[2 * PENDING_FILL_ID_MAX + 1], text[FILE_MAX];
    path_of(shield, path);
    hex_encode(pending->fill_id, pending->fill_id_len, id);
    int len = snprintf(text, sizeof text,
                       "{\"fill_id\":\"%s\",\"shield_id\":\"%s\",\"keys_before\":%u,\"count\":%u}\n", id,
                       pending->shield_id, pending->keys_before, pending->count);
    TG_INVARIANT(len > 0 && (size_t)len < sizeof text);
    return file_replace(path, text, (size_t)len, err);
}

/* Hex of 1 to `max` bytes. */
static bool decode_id(const char *hex, uint8_t *out, size_t max, size_t *len)
{
    size_t digits = strlen(hex);
    *len = digits / 2;
    return digits != 0 && digits % 2 == 0 && *len <= max && hex_decode(hex, *len, out);
}

static bool decode(const char *text, size_t len, struct pending *out)
{
    const char *id = NULL, *shield_id = NULL;
    json_int_t before = -1, count = -1;
    json_t *object = json_loadb(text, len, 0, NULL);
    bool good = object != NULL &&
                json_unpack(object, "{s:s, s:s, s:I, s:I}", "fill_id", &id, "shield_id", &shield_id,
                            "keys_before", &before, "count", &count) == 0 &&
                before >= 0 && before <= UINT32_MAX && count > 0 && count <= UINT32_MAX &&
                name_check_id("shield id", shield_id, NULL) == TG_OK &&
                decode_id(id, out->fill_id, sizeof out->fill_id, &out->fill_id_len);
    if (good) {
        snprintf(out->shield_id, sizeof out->shield_id, "%s", shield_id);
        out->keys_before = (uint32_t)before;
        out->count = (uint32_t)count;
    }
    json_decref(object);
    return good;
}

enum tg_code pending_read(const char *shield, struct pending *pending, bool *found, struct tg_error *err)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    path_of(shield, path);
    *found = false;
    enum tg_code code = file_read(path, FILE_MAX, &text, &len, err);
    if (code == TG_NOT_FOUND)
        return TG_OK;
    if (code == TG_OK && !decode(text, len, pending))
        code = tg_fail(
            err, TG_DATA_LOSS,
            "%.150s is damaged: remove it. Keys of the last, interrupted fill may then be refused at login",
            path);
    free(text);
    *found = code == TG_OK;
    return code;
}

enum tg_code pending_remove(const char *shield, struct tg_error *err)
{
    char path[PATH_MAX];
    path_of(shield, path);
    TG_ENSURE(unlink(path) == 0 || errno == ENOENT, err, TG_INTERNAL, "cannot remove %.150s: %s", path,
              strerror(errno));
    return TG_OK;
}
