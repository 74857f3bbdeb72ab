#include "client/shield_watch.h"

#include <stdlib.h>
#include <unistd.h>

void shield_watch_start(struct shield_watch *watch, const struct shield_place *place, struct shield *shield)
{
    *watch = (struct shield_watch){0};
    if (shield_place_is_token(place)) {
        watch->token = shield;
        return;
    }
    if (realpath(place->name, watch->file) == NULL)
        watch->file[0] = '\0';
    shield_close(shield);
}

bool shield_watch_pulled(const struct shield_watch *watch)
{
    if (watch->token != NULL)
        return shield_check(watch->token, NULL) != TG_OK;
    return watch->file[0] != '\0' && access(watch->file, F_OK) != 0;
}

void shield_watch_stop(struct shield_watch *watch)
{
    shield_close(watch->token);
    *watch = (struct shield_watch){0};
}
