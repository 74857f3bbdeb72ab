/* What the bodies' decoders share: JSON in memory that is wiped when freed, and members with bounds. */
#ifndef TG_COMMON_ETSI014_JSON_H
#define TG_COMMON_ETSI014_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* malloc's family, but whatever is freed or moved is wiped first: what libraries that handle keys are given
 * for their memory. Compatible with free(). */
void etsi014_wiping_free(void *pointer);
void *etsi014_wiping_realloc(void *pointer, size_t size);

/* Parses a body of `len` bytes that must be an object. From the first call on, all JSON of this process lives
 * in wiped memory. `code` and a text that starts with `what` otherwise. */
enum tg_code etsi014_json_parse(const char *what, const char *body, size_t len, enum tg_code code,
                                json_t **out, struct tg_error *err) TG_MUST_CHECK;
void etsi014_json_cleanup(json_t **json);

/* A member that may be absent or null: *out stays as it is. False: it is something else than a whole number
 * of 0 to UINT32_MAX. */
bool etsi014_json_number(const json_t *object, const char *name, uint32_t *out) TG_MUST_CHECK;
/* Likewise for text that is fit for people and fits into out[size]. */
bool etsi014_json_text(const json_t *object, const char *name, char *out, size_t size) TG_MUST_CHECK;
/* Likewise for a list; NULL in *out: absent. */
bool etsi014_json_list(const json_t *object, const char *name, json_t **out) TG_MUST_CHECK;

/* Compact text of `json`, which is consumed; for etsi014_body_free. NULL: memory is out. */
char *etsi014_json_print(json_t *json, size_t *len);

#endif
