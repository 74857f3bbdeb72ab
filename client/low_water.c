#include "client/low_water.h"

#include <stdio.h>

#include "client/arguments.h"

enum { LOW_WATER_MAX = 100000 };

enum tg_code low_water_parse(const char *value, uint32_t *out, struct tg_error *err)
{
    return argument_number(value, 0, LOW_WATER_MAX, out, err);
}

void low_water_say(const struct say *say, uint32_t low_water, size_t keys_left)
{
    char text[160];
    snprintf(text, sizeof text,
             "%s%zu key%s left on the shield: have it filled at the charger (tg-charger fill)",
             keys_left > 0 ? "only " : "", keys_left, keys_left == 1 ? "" : "s");
    if (keys_left < low_water)
        SAY(say, LOG_WARNING, "shield.low", text, LOG_NUMBER("keys_left", keys_left));
}
