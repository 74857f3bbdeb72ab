/* `ticketgate shield status`: what is left on a shield. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "client/arguments.h"
#include "client/commands.h"
#include "client/exit_code.h"
#include "client/low_water.h"
#include "client/say.h"
#include "client/secret_source.h"
#include "client/shield_place.h"

struct shield_options {
    struct shield_place shield;
    struct secret_source pin;
    uint32_t low_water;
    bool json, help;
};

static enum tg_code take_pin_fd(void *out, const char *value, struct tg_error *err)
{
    return secret_source_parse_fd(value, &((struct shield_options *)out)->pin.fd, err);
}

static enum tg_code take_low_water(void *out, const char *value, struct tg_error *err)
{
    return low_water_parse(value, &((struct shield_options *)out)->low_water, err);
}

#define PLACE(member) offsetof(struct shield_options, member)
static const struct argument_row rows[] = {
    {"shield", 's', "FILE|URI", PLACE(shield.name), NULL},
    {"pkcs11-module", 0, "FILE", PLACE(shield.module), NULL},
    {"pin-file", 0, "FILE", PLACE(pin.file), NULL},
    {"pin-fd", 0, "N", 0, take_pin_fd},
    {"low-water", 0, "N", 0, take_low_water},
    {"json", 0, NULL, PLACE(json), NULL},
    {"help", 'h', NULL, PLACE(help), NULL},
    {0},
};

static void print_json(const struct shield_status *status, uint32_t low_water)
{
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:b}", "shield_id", status->shield_id, "ready",
                  (json_int_t)status->ready, "expired", (json_int_t)status->expired, "next_expiry_s",
                  (json_int_t)status->next_expiry_s, "low", status->ready < low_water);
    if (object == NULL)
        return;
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

static void print_text(const struct shield_status *status, uint32_t low_water)
{
    printf("shield   %s\nready    %zu\nexpired  %zu\n", status->shield_id, status->ready, status->expired);
    time_t next = (time_t)status->next_expiry_s;
    struct tm tm;
    char text[64];
    if (next != 0 && localtime_r(&next, &tm) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) > 0)
        printf("the next key expires on %s\n", text);
    fflush(stdout);
    low_water_say(&(struct say){.program = "ticketgate"}, low_water, status->ready);
}

static enum client_exit show(const struct shield_options *options, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *pin = NULL;
    enum tg_code code = secret_source_read(&options->pin, "PIN", "PIN of the shield", &pin, err);
    if (code != TG_OK)
        return exit_for_secret(code);
    struct shield *shield = NULL;
    struct shield_status status;
    code = shield_place_open(&options->shield, pin, &shield, err);
    if (code == TG_OK)
        code = shield_get_status(shield, (uint64_t)time(NULL), &status, err);
    shield_close(shield);
    if (code != TG_OK)
        return exit_for_shield(code);
    if (options->json)
        print_json(&status, options->low_water);
    else
        print_text(&status, options->low_water);
    return EXIT_OK;
}

static enum client_exit run(int argc, char **argv, struct shield_options *options, struct tg_error *err)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        shield_help(stdout);
        return EXIT_OK;
    }
    if (argc < 2 || strcmp(argv[1], "status") != 0) {
        tg_fail(err, TG_INVALID_ARGUMENT,
                "shield: what about it? `ticketgate shield status` shows what is left");
        return EXIT_USAGE;
    }
    if (arguments_parse(argc - 1, argv + 1, rows, options, err) != TG_OK)
        return EXIT_USAGE;
    if (options->help) {
        shield_help(stdout);
        return EXIT_OK;
    }
    return shield_place_check(&options->shield, err) == TG_OK ? show(options, err) : EXIT_USAGE;
}

int shield_command(int argc, char **argv)
{
    struct shield_options options = {.pin.fd = -1, .low_water = LOW_WATER_DEFAULT};
    struct tg_error err = {0};
    enum client_exit how = run(argc, argv, &options, &err);
    const struct say say = {.program = "ticketgate", .json = options.json};
    say_open(&say);
    say_end(&say, how, &err);
    return (int)how;
}
