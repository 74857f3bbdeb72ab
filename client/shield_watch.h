/* Whether the shield is still in while a session runs: who takes it along leaves no session behind. */
#ifndef TG_CLIENT_SHIELD_WATCH_H
#define TG_CLIENT_SHIELD_WATCH_H

#include <limits.h>

#include "client/shield_place.h"

struct shield_watch {
    struct shield *token; /* owned: a token stays open, others may use it nevertheless */
    char file[PATH_MAX];  /* a file is closed (and so unlocked): its name is what we watch; "": nothing */
};

/* Takes the open shield over. */
void shield_watch_start(struct shield_watch *watch, const struct shield_place *place, struct shield *shield);
/* Asks once; a token's reader may take some milliseconds. False when nothing is watched. */
bool shield_watch_pulled(const struct shield_watch *watch);
void shield_watch_stop(struct shield_watch *watch); /* zeroes are fine */

#endif
