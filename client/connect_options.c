#include "client/connect_options.h"

#include <string.h>

#include "client/arguments.h"
#include "client/low_water.h"
#include "common/names.h"

enum { KEEP_ALIVE_MAX_S = 3600 };

static enum tg_code take_gateway(void *out, const char *value, struct tg_error *err)
{
    return host_port_parse(value, GATEWAY_DEFAULT_PORT, &((struct connect_options *)out)->gateway, err);
}

static enum tg_code take_user(void *out, const char *value, struct tg_error *err)
{
    TG_ENSURE(value[0] != '\0', err, TG_INVALID_ARGUMENT, "the name is empty");
    ((struct connect_options *)out)->user = value;
    return name_check_text("user name", value, err);
}

static enum tg_code take_qkud(void *out, const char *value, struct tg_error *err)
{
    ((struct connect_options *)out)->qkud_id = value;
    return name_check_id("QKUD ID", value, err);
}

static enum tg_code take_password_fd(void *out, const char *value, struct tg_error *err)
{
    return secret_source_parse_fd(value, &((struct connect_options *)out)->password.fd, err);
}

static enum tg_code take_pin_fd(void *out, const char *value, struct tg_error *err)
{
    return secret_source_parse_fd(value, &((struct connect_options *)out)->pin.fd, err);
}

static enum tg_code take_suite(void *out, const char *value, struct tg_error *err)
{
    struct connect_options *options = out;
    const struct suite *suite = suite_by_name(value);
    TG_ENSURE(suite != NULL, err, TG_INVALID_ARGUMENT,
              "\"%.40s\" is neither AES256-GCM-SHA256 nor SM4-CTR-HMAC-SM3", value);
    TG_ENSURE(options->suite_count < LOGIN_SUITES_MAX, err, TG_INVALID_ARGUMENT, "given too often");
    options->suites[options->suite_count++] = suite;
    return TG_OK;
}

static enum tg_code take_forward(void *out, const char *value, struct tg_error *err)
{
    struct connect_options *options = out;
    TG_ENSURE(options->forward_count < SESSION_FORWARDS_MAX, err, TG_INVALID_ARGUMENT, "at most %u of them",
              SESSION_FORWARDS_MAX);
    return forward_parse(value, &options->forwards[options->forward_count++], err);
}

static enum tg_code take_stdio(void *out, const char *value, struct tg_error *err)
{
    struct connect_options *options = out;
    TG_ENSURE(!options->has_stdio_target, err, TG_INVALID_ARGUMENT, "given twice");
    options->has_stdio_target = true;
    return host_port_parse(value, 0, &options->stdio_target, err);
}

static enum tg_code take_low_water(void *out, const char *value, struct tg_error *err)
{
    return low_water_parse(value, &((struct connect_options *)out)->low_water, err);
}

static enum tg_code take_when_pulled(void *out, const char *value, struct tg_error *err)
{
    bool stay = strcmp(value, "stay") == 0;
    TG_ENSURE(stay || strcmp(value, "end") == 0, err, TG_INVALID_ARGUMENT,
              "\"%.40s\" is neither end nor stay", value);
    ((struct connect_options *)out)->stay_when_pulled = stay;
    return TG_OK;
}

static enum tg_code take_keep_alive(void *out, const char *value, struct tg_error *err)
{
    uint32_t seconds = 0;
    TG_TRY(argument_number(value, 1, KEEP_ALIVE_MAX_S, &seconds, err));
    ((struct connect_options *)out)->keep_alive_ms = seconds * 1000;
    return TG_OK;
}

#define PLACE(member) offsetof(struct connect_options, member)
static const struct argument_row rows[] = {
    {"gateway", 'g', "HOST[:PORT]", 0, take_gateway},
    {"ca", 0, "FILE", PLACE(ca), NULL},
    {"user", 'u', "NAME", 0, take_user},
    {"shield", 's', "FILE|URI", PLACE(shield.name), NULL},
    {"pkcs11-module", 0, "FILE", PLACE(shield.module), NULL},
    {NULL, 'L', "[BIND:]PORT:HOST:HOSTPORT", 0, take_forward},
    {NULL, 'W', "HOST:PORT", 0, take_stdio},
    {"password-file", 0, "FILE", PLACE(password.file), NULL},
    {"password-fd", 0, "N", 0, take_password_fd},
    {"pin-file", 0, "FILE", PLACE(pin.file), NULL},
    {"pin-fd", 0, "N", 0, take_pin_fd},
    {"suite", 0, "NAME", 0, take_suite},
    {"qkud", 0, "ID", 0, take_qkud},
    {"plain-login", 0, NULL, PLACE(plain_login), NULL},
    {"low-water", 0, "N", 0, take_low_water},
    {"when-shield-pulled", 0, "end|stay", 0, take_when_pulled},
    {"keep-alive", 0, "SECONDS", 0, take_keep_alive},
    {"quiet", 'q', NULL, PLACE(quiet), NULL},
    {"json", 0, NULL, PLACE(json), NULL},
    {"help", 'h', NULL, PLACE(help), NULL},
    {0},
};

static enum tg_code check(const struct connect_options *options, struct tg_error *err)
{
    TG_ENSURE(options->gateway.port != 0, err, TG_INVALID_ARGUMENT, "--gateway HOST[:PORT] is missing");
    TG_ENSURE(options->ca != NULL, err, TG_INVALID_ARGUMENT,
              "--ca FILE is missing: the certificate of whoever signed the gateway's");
    TG_ENSURE(options->user != NULL, err, TG_INVALID_ARGUMENT, "--user NAME is missing");
    TG_TRY(shield_place_check(&options->shield, err));
    TG_ENSURE(options->password.file == NULL || options->password.fd < 0, err, TG_INVALID_ARGUMENT,
              "--password-file and --password-fd: one of them");
    TG_ENSURE(options->pin.file == NULL || options->pin.fd < 0, err, TG_INVALID_ARGUMENT,
              "--pin-file and --pin-fd: one of them");
    return TG_OK;
}

static void offer_all_suites(struct connect_options *options)
{
    if (options->suite_count > 0)
        return;
    options->suites[options->suite_count++] = suite_find(SUITE_AES256_GCM_SHA256);
    options->suites[options->suite_count++] = suite_find(SUITE_SM4_CTR_HMAC_SM3);
}

enum tg_code connect_options_parse(int argc, char **argv, struct connect_options *out, struct tg_error *err)
{
    *out = (struct connect_options){.password.fd = -1,
                                    .pin.fd = -1,
                                    .low_water = LOW_WATER_DEFAULT,
                                    .keep_alive_ms = SESSION_KEEP_ALIVE_MS};
    TG_TRY(arguments_parse(argc, argv, rows, out, err));
    if (out->help)
        return TG_OK;
    offer_all_suites(out);
    return check(out, err);
}
