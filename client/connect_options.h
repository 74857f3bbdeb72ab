/* The arguments of `ticketgate connect`. */
#ifndef TG_CLIENT_CONNECT_OPTIONS_H
#define TG_CLIENT_CONNECT_OPTIONS_H

#include "client/secret_source.h"
#include "client/session/session.h"
#include "client/shield_place.h"

struct connect_options { /* texts are borrowed from argv */
    bool help;
    struct host_port gateway;
    const char *ca, *user, *qkud_id;
    struct shield_place shield;
    struct secret_source password, pin;
    const struct suite *suites[LOGIN_SUITES_MAX];
    size_t suite_count;
    bool plain_login;
    bool stay_when_pulled; /* the session outlives the shield */
    struct forward_spec forwards[SESSION_FORWARDS_MAX];
    size_t forward_count;
    bool has_stdio_target;
    struct host_port stdio_target;
    uint32_t low_water;
    uint32_t keep_alive_ms;
    bool quiet, json;
};

/* argv[0] is "connect". INVALID_ARGUMENT says which argument is wrong, and how it should be. With help set,
 * nothing else was checked. */
enum tg_code connect_options_parse(int argc, char **argv, struct connect_options *out,
                                   struct tg_error *err) TG_MUST_CHECK;

#endif
