/* What tg-charger is to do: its arguments, and the key store that its configuration file or they name. */
#ifndef TG_CLIENT_CHARGER_OPTIONS_H
#define TG_CLIENT_CHARGER_OPTIONS_H

#include "client/charger/pending.h"
#include "client/secret_source.h"
#include "client/shield_place.h"
#include "common/etsi014/client.h"
#include "common/rpc/rpc.h"

enum charger_limits {
    CHARGER_COUNT_MAX = 4096,              /* what fits on a shield */
    CHARGER_CHUNK_MAX = PENDING_COUNT_MAX, /* what the key store makes in one go */
    CHARGER_CHUNK_DEFAULT = 100
};

struct charger_config { /* the file; config_free with charger_config_rows */
    struct rpc_peer key_store;
    int64_t timeout_ms;
    struct etsi014_peer kme; /* url NULL: the key store makes the keys */
    char *slave_sae;         /* the key store's */
};
extern const struct config_row charger_config_rows[];

struct charger_options { /* texts are borrowed from argv */
    bool help, config_help, version;
    const char *config;
    const char *address, *certificate, *key, *ca; /* the key store; in place of the file, or of parts of it */
    struct shield_place shield;
    const char *shield_id, *user;
    uint32_t count, chunk, low_water;
    struct secret_source password, pin;
    bool quiet, json;
};

/* argv[0] is the program; argv[1] may be "fill". INVALID_ARGUMENT says what is wrong. With help,
 * config_help or version set, nothing else was checked. */
enum tg_code charger_options_parse(int argc, char **argv, struct charger_options *out,
                                   struct tg_error *err) TG_MUST_CHECK;

/* The file's configuration (if one is named) with the arguments over it. *out is the caller's:
 * charger_config_free. */
enum tg_code charger_config_load(const struct charger_options *options, struct charger_config *out,
                                 struct tg_error *err) TG_MUST_CHECK;
void charger_config_free(struct charger_config *config);

#endif
