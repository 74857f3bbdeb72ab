/* What --shield names: a file on a removable disk, or a PKCS#11 token by its URI (RFC 7512). */
#ifndef TG_CLIENT_SHIELD_PLACE_H
#define TG_CLIENT_SHIELD_PLACE_H

#include "common/shield/shield.h"

struct shield_place {   /* texts are borrowed, from argv */
    const char *name;   /* "/media/shield/alice.tgs", "pkcs11:token=shield-17" */
    const char *module; /* --pkcs11-module: NULL: the URI's module-path, or those that p11-kit knows */
};

/* INVALID_ARGUMENT: a module, but no token. */
enum tg_code shield_place_check(const struct shield_place *place, struct tg_error *err) TG_MUST_CHECK;
bool shield_place_is_token(const struct shield_place *place);
/* Codes of shield_file_open and shield_token_open. */
enum tg_code shield_place_open(const struct shield_place *place, const struct secret *pin,
                               struct shield **shield, struct tg_error *err) TG_MUST_CHECK;

#endif
