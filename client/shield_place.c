#include "client/shield_place.h"

#include "common/pkcs11/shield.h"

bool shield_place_is_token(const struct shield_place *place)
{
    return token_is_uri(place->name);
}

enum tg_code shield_place_check(const struct shield_place *place, struct tg_error *err)
{
    TG_ENSURE(place->name != NULL, err, TG_INVALID_ARGUMENT, "--shield FILE|URI is missing");
    TG_ENSURE(place->module == NULL || token_is_uri(place->name), err, TG_INVALID_ARGUMENT,
              "--pkcs11-module is for tokens: --shield pkcs11:token=…");
    return TG_OK;
}

enum tg_code shield_place_open(const struct shield_place *place, const struct secret *pin,
                               struct shield **shield, struct tg_error *err)
{
    if (!token_is_uri(place->name))
        return shield_file_open(place->name, pin, shield, err);
    return shield_token_open(&(struct token_where){.uri = place->name, .module = place->module}, pin, shield,
                             err);
}
