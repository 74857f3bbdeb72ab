/* When a shield should be filled again: every program that knows what is left says so. */
#ifndef TG_CLIENT_LOW_WATER_H
#define TG_CLIENT_LOW_WATER_H

#include <stdint.h>

#include "client/say.h"

enum { LOW_WATER_DEFAULT = 10 };

/* The value of --low-water. */
enum tg_code low_water_parse(const char *value, uint32_t *out, struct tg_error *err) TG_MUST_CHECK;
/* A warning, event "shield.low", when fewer than low_water keys are left. */
void low_water_say(const struct say *say, uint32_t low_water, size_t keys_left);

#endif
