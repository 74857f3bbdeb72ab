#include "client/charger/options.h"

#include <stdlib.h>
#include <string.h>

#include "client/arguments.h"
#include "client/low_water.h"
#include "common/names.h"

const struct config_row charger_config_rows[] = {
    RPC_PEER_ROWS("key_store.", struct charger_config, key_store),
    {.key = "timeout",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct charger_config, timeout_ms),
     .fallback = "30s",
     .min = 1000,
     .max = RPC_BUDGET_MAX_MS,
     .help = "How long to wait for the key store, the user's RADIUS login included"},
    ETSI014_PEER_ROWS("kme.", struct charger_config, kme),
    {.key = "kme.slave_sae",
     .type = CONFIG_STRING,
     .offset = offsetof(struct charger_config, slave_sae),
     .fallback = CONFIG_OPTIONAL,
     .max = NAME_TEXT_MAX,
     .help = "The SAE of the key store, which fetches the same keys from a KME of its own"},
    {.key = NULL},
};

static enum tg_code take_user(void *out, const char *value, struct tg_error *err)
{
    TG_ENSURE(value[0] != '\0', err, TG_INVALID_ARGUMENT, "the name is empty");
    ((struct charger_options *)out)->user = value;
    return name_check_text("user name", value, err);
}

static enum tg_code take_shield_id(void *out, const char *value, struct tg_error *err)
{
    ((struct charger_options *)out)->shield_id = value;
    return name_check_id("shield id", value, err);
}

static enum tg_code take_count(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, CHARGER_COUNT_MAX, &((struct charger_options *)out)->count, err);
}

static enum tg_code take_chunk(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, CHARGER_CHUNK_MAX, &((struct charger_options *)out)->chunk, err);
}

static enum tg_code take_low_water(void *out, const char *value, struct tg_error *err)
{
    return low_water_parse(value, &((struct charger_options *)out)->low_water, err);
}

static enum tg_code take_password_fd(void *out, const char *value, struct tg_error *err)
{
    return secret_source_parse_fd(value, &((struct charger_options *)out)->password.fd, err);
}

static enum tg_code take_pin_fd(void *out, const char *value, struct tg_error *err)
{
    return secret_source_parse_fd(value, &((struct charger_options *)out)->pin.fd, err);
}

#define PLACE(member) offsetof(struct charger_options, member)
static const struct argument_row rows[] = {
    {"config", 0, "FILE", PLACE(config), NULL},
    {"key-store", 0, "ADDRESS", PLACE(address), NULL},
    {"certificate", 0, "FILE", PLACE(certificate), NULL},
    {"key", 0, "FILE", PLACE(key), NULL},
    {"ca", 0, "FILE", PLACE(ca), NULL},
    {"shield", 's', "FILE|URI", PLACE(shield.name), NULL},
    {"pkcs11-module", 0, "FILE", PLACE(shield.module), NULL},
    {"shield-id", 0, "ID", 0, take_shield_id},
    {"user", 'u', "NAME", 0, take_user},
    {"count", 'n', "N", 0, take_count},
    {"chunk", 0, "N", 0, take_chunk},
    {"low-water", 0, "N", 0, take_low_water},
    {"password-file", 0, "FILE", PLACE(password.file), NULL},
    {"password-fd", 0, "N", 0, take_password_fd},
    {"pin-file", 0, "FILE", PLACE(pin.file), NULL},
    {"pin-fd", 0, "N", 0, take_pin_fd},
    {"quiet", 'q', NULL, PLACE(quiet), NULL},
    {"json", 0, NULL, PLACE(json), NULL},
    {"help", 'h', NULL, PLACE(help), NULL},
    {"config-help", 0, NULL, PLACE(config_help), NULL},
    {"version", 0, NULL, PLACE(version), NULL},
    {0},
};

static enum tg_code check(const struct charger_options *options, struct tg_error *err)
{
    TG_ENSURE(options->config != NULL || options->address != NULL, err, TG_INVALID_ARGUMENT,
              "--config FILE or --key-store ADDRESS is missing");
    TG_TRY(shield_place_check(&options->shield, err));
    TG_ENSURE(options->shield_id != NULL, err, TG_INVALID_ARGUMENT,
              "--shield-id ID is missing: as it was registered (tgctl shield add)");
    TG_ENSURE(options->user != NULL, err, TG_INVALID_ARGUMENT, "--user NAME is missing");
    TG_ENSURE(options->count > 0, err, TG_INVALID_ARGUMENT, "--count N is missing");
    TG_ENSURE(options->password.file == NULL || options->password.fd < 0, err, TG_INVALID_ARGUMENT,
              "--password-file and --password-fd: one of them");
    TG_ENSURE(options->pin.file == NULL || options->pin.fd < 0, err, TG_INVALID_ARGUMENT,
              "--pin-file and --pin-fd: one of them");
    return TG_OK;
}

enum tg_code charger_options_parse(int argc, char **argv, struct charger_options *out, struct tg_error *err)
{
    *out = (struct charger_options){
        .password.fd = -1, .pin.fd = -1, .chunk = CHARGER_CHUNK_DEFAULT, .low_water = LOW_WATER_DEFAULT};
    bool has_command = argc > 1 && strcmp(argv[1], "fill") == 0;
    TG_TRY(arguments_parse(argc - has_command, argv + has_command, rows, out, err));
    return out->help || out->config_help || out->version ? TG_OK : check(out, err);
}

static enum tg_code set(char **place, const char *value, struct tg_error *err)
{
    if (value == NULL)
        return TG_OK;
    free(*place);
    *place = strdup(value);
    TG_ENSURE(*place != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    return TG_OK;
}

/* Without a file: what it would have held. */
static enum tg_code defaults(struct charger_config *config, struct tg_error *err)
{
    static const char empty[] = "key_store: {endpoints: [replaced]}\n";
    return config_parse("arguments", empty, sizeof empty - 1, charger_config_rows, config, err);
}

static enum tg_code use_arguments(const struct charger_options *options, struct charger_config *config,
                                  struct tg_error *err)
{
    struct rpc_peer *peer = &config->key_store;
    char **endpoints = peer->endpoints.items;
    TG_TRY(set(&peer->tls.certificate, options->certificate, err));
    TG_TRY(set(&peer->tls.key, options->key, err));
    TG_TRY(set(&peer->tls.ca, options->ca, err));
    if (options->address == NULL)
        return TG_OK;
    for (; peer->endpoints.count > 1; peer->endpoints.count--)
        free(endpoints[peer->endpoints.count - 1]);
    return set(&endpoints[0], options->address, err);
}

enum tg_code charger_config_load(const struct charger_options *options, struct charger_config *out,
                                 struct tg_error *err)
{
    *out = (struct charger_config){0};
    if (options->config != NULL)
        TG_TRY(config_read(options->config, charger_config_rows, out, err));
    else
        TG_TRY(defaults(out, err));
    enum tg_code code = use_arguments(options, out, err);
    if (code != TG_OK)
        charger_config_free(out);
    return code;
}

void charger_config_free(struct charger_config *config)
{
    config_free(charger_config_rows, config);
}
