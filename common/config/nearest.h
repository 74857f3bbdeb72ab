/* What an unknown key was probably meant to be. Used by common/config only. */
#ifndef TG_COMMON_CONFIG_NEAREST_H
#define TG_COMMON_CONFIG_NEAREST_H

#include <stddef.h>

#include "common/config.h"

/* For a key `unknown` in the mapping `inner` ("" or "rpc."): `did you mean "listeners"?`, or the keys that
 * are known there. */
void config_nearest_hint(const struct config_row *rows, const char *inner, const char *unknown, char *out,
                         size_t size);

#endif
