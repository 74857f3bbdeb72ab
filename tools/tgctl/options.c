#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/trace.h"
#include "tools/tgctl/tgctl.h"

const struct tgctl_command *const tgctl_commands[] = {
    health_commands,  keystore_commands, key_commands,      source_commands, kek_commands,
    gateway_commands, audit_commands,    evidence_commands, export_commands, NULL};

const struct tgctl_command *tgctl_find(int count, char **words, int *used)
{
    for (size_t i = 0; tgctl_commands[i] != NULL; i++) {
        for (const struct tgctl_command *row = tgctl_commands[i]; row->group != NULL; row++) {
            *used = row->verb != NULL ? 2 : 1;
            if (count < *used || strcmp(words[0], row->group) != 0)
                continue;
            if (row->verb == NULL || strcmp(words[1], row->verb) == 0)
                return row;
        }
    }
    return NULL;
}

static size_t option_count(const struct tgctl_option *options)
{
    size_t count = 0;

    while (options != NULL && options[count].name != NULL)
        count++;
    TG_INVARIANT(count <= TGCTL_OPTIONS_MAX);
    return count;
}

static enum tg_code take_positional(const struct tgctl_command *command, int count, char **rest,
                                    struct tgctl_arguments *arguments, struct tg_error *err)
{
    int wanted = 0;

    while (wanted < TGCTL_ARGUMENTS_MAX && command->arguments[wanted] != NULL)
        wanted++;
    TG_ENSURE(count >= wanted, err, TG_INVALID_ARGUMENT, "%s %s: %s is missing", command->group,
              command->verb != NULL ? command->verb : "", command->arguments[count]);
    TG_ENSURE(count <= wanted, err, TG_INVALID_ARGUMENT, "unexpected argument: %s", rest[wanted]);
    for (int i = 0; i < count; i++)
        arguments->positional[i] = rest[i];
    return TG_OK;
}

enum tg_code arguments_read(const struct tgctl_command *command, int argc, char **argv,
                            struct tgctl_arguments *arguments, struct tg_error *err)
{
    enum { JSON = 1000, HELP };
    struct option rows[TGCTL_OPTIONS_MAX + 3] = {{"json", no_argument, NULL, JSON},
                                                 {"help", no_argument, NULL, HELP}};
    size_t count = option_count(command->options);
    int got;

    *arguments = (struct tgctl_arguments){.options = command->options};
    for (size_t i = 0; i < count; i++)
        rows[i + 2] = (struct option){command->options[i].name,
                                      command->options[i].value != NULL ? required_argument : no_argument,
                                      NULL, (int)i};
    optind = 0; /* glibc: start anew, with another argv */
    opterr = 0;
    while ((got = getopt_long(argc, argv, ":h", rows, NULL)) != -1) {
        TG_ENSURE(got != ':', err, TG_INVALID_ARGUMENT, "%s needs a value", argv[optind - 1]);
        TG_ENSURE(got != '?', err, TG_INVALID_ARGUMENT, "unknown option %s", argv[optind - 1]);
        if (got == JSON)
            arguments->json = true;
        else if (got == HELP || got == 'h')
            arguments->help = true;
        else
            arguments->values[got] = optarg != NULL ? optarg : "";
    }
    if (arguments->help)
        return TG_OK;
    return take_positional(command, argc - optind, argv + optind, arguments, err);
}

const char *arguments_option(const struct tgctl_arguments *arguments, const char *name)
{
    for (size_t i = 0; arguments->options[i].name != NULL; i++) {
        if (strcmp(arguments->options[i].name, name) == 0)
            return arguments->values[i];
    }
    TG_INVARIANT(!"an option that the command's row names");
    return NULL;
}

enum tg_code arguments_number(const struct tgctl_arguments *arguments, const char *name, uint32_t max,
                              uint32_t *out, struct tg_error *err)
{
    const char *text = arguments_option(arguments, name);
    char *end;
    unsigned long number;

    *out = 0;
    if (text == NULL)
        return TG_OK;
    errno = 0;
    number = strtoul(text, &end, 10);
    TG_ENSURE(isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 && number >= 1 && number <= max,
              err, TG_INVALID_ARGUMENT, "--%s: %s is not a number from 1 to %u", name, text, max);
    *out = (uint32_t)number;
    return TG_OK;
}

enum tg_code sequence_read(const char *text, uint64_t *out, struct tg_error *err)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    TG_ENSURE(isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0, err, TG_INVALID_ARGUMENT,
              "\"%s\" is not the sequence of an event", text);
    return TG_OK;
}

/* "15m": 900 seconds. False: not of that form. */
static bool read_span(const char *text, uint64_t *seconds)
{
    static const char units[] = "smhd";
    static const uint64_t lengths[] = {1, 60, 3600, 86400};
    const char *unit;
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (!isdigit((unsigned char)text[0]) || end[0] == '\0' || end[1] != '\0' || number > 1000000)
        return false;
    unit = strchr(units, end[0]);
    if (unit == NULL)
        return false;
    *seconds = number * lengths[unit - units];
    return true;
}

static bool read_ago(const char *text, uint64_t *seconds)
{
    uint64_t now = clock_unix_us() / 1000000;

    if (!read_span(text, seconds) || *seconds > now)
        return false;
    *seconds = now - *seconds;
    return true;
}

static bool read_ahead(const char *text, uint64_t *seconds)
{
    if (!read_span(text, seconds))
        return false;
    *seconds += clock_unix_us() / 1000000;
    return true;
}

static bool read_time(const char *text, uint64_t *seconds)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm parts = {0};
        const char *end = strptime(text, formats[i], &parts);
        time_t at = timegm(&parts);

        if (end != NULL && *end == '\0' && at > 0) {
            *seconds = (uint64_t)at;
            return true;
        }
    }
    return false;
}

enum tg_code arguments_time(const struct tgctl_arguments *arguments, const char *name, uint64_t *out_us,
                            struct tg_error *err)
{
    const char *text = arguments_option(arguments, name);
    uint64_t seconds = 0;

    *out_us = 0;
    if (text == NULL)
        return TG_OK;
    TG_ENSURE(
        read_ago(text, &seconds) || read_time(text, &seconds), err, TG_INVALID_ARGUMENT,
        "--%s: %s is not a time: write 2026-11-22T20:14:11Z, 2026-11-22, or how long ago: 90s, 15m, 2h, 7d",
        name, text);
    *out_us = seconds * 1000000;
    return TG_OK;
}

enum tg_code arguments_deadline(const struct tgctl_arguments *arguments, const char *name, uint64_t *out_s,
                                struct tg_error *err)
{
    const char *text = arguments_option(arguments, name);

    *out_s = 0;
    if (text == NULL)
        return TG_OK;
    TG_ENSURE(
        read_ahead(text, out_s) || read_time(text, out_s), err, TG_INVALID_ARGUMENT,
        "--%s: %s is not a time: write 2026-11-22T20:14:11Z, 2026-11-22, or in how long: 90s, 15m, 2h, 7d",
        name, text);
    return TG_OK;
}

static void put_option(const struct tgctl_option *option, FILE *out)
{
    fprintf(out, "--%s%s%s", option->name, option->value != NULL ? " " : "",
            option->value != NULL ? option->value : "");
}

static void put_synopsis(const struct tgctl_command *command, FILE *out)
{
    fprintf(out, "%s", command->group);
    if (command->verb != NULL)
        fprintf(out, " %s", command->verb);
    for (int i = 0; i < TGCTL_ARGUMENTS_MAX && command->arguments[i] != NULL; i++)
        fprintf(out, " %s", command->arguments[i]);
    for (size_t i = 0; i < option_count(command->options); i++) {
        fputs(" [", out);
        put_option(&command->options[i], out);
        fputc(']', out);
    }
}

void tgctl_command_help(const struct tgctl_command *command, FILE *out)
{
    fprintf(out, "Usage: tgctl [--config FILE] ");
    put_synopsis(command, out);
    fprintf(out, " [--json]\n\n%s\n", command->help);
    for (size_t i = 0; i < option_count(command->options); i++) {
        const struct tgctl_option *option = &command->options[i];

        fputs(i == 0 ? "\n  " : "  ", out);
        put_option(option, out);
        fprintf(out, "\n        %s\n", option->help);
    }
}

void tgctl_help(FILE *out)
{
    fputs("Usage: tgctl [--config FILE] COMMAND [ARGUMENT]... [--json]\n"
          "The operator's program for TicketGate: gateways, shields, keys, their source, KEKs, sessions,\n"
          "audit log, health.\n\n"
          "  --config FILE  where the services are (default: " TGCTL_CONFIG_DEFAULT ")\n"
          "  --json         one JSON object a line instead of a table; every command has it\n"
          "  --config-help  every key of the configuration file\n"
          "  --version      the version\n"
          "  --help         this; tgctl COMMAND --help says more about one command\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; tgctl_commands[i] != NULL; i++) {
        for (const struct tgctl_command *command = tgctl_commands[i]; command->group != NULL; command++) {
            fputs("  ", out);
            put_synopsis(command, out);
            fprintf(out, "\n        %s\n", command->help);
        }
    }
    fputs("\nExamples:\n"
          "  tgctl health\n"
          "  tgctl qkud add branch-7 --out /etc/ticketgate/secrets/qkud.key\n"
          "  tgctl shield add shield-0042 --owner alice\n"
          "  tgctl key list --state ready --expires-before 14d\n"
          "  tgctl kek rotate --wait\n"
          "  tgctl audit list --user alice --since 2h\n"
          "  tgctl audit follow --event login. --json\n\n"
          "exit codes: 0 done; 1 answered, and the answer is no; 64 bad arguments; 69 a service did not "
          "answer;\n"
          "74 a file or the output could not be written; 78 bad configuration\n",
          out);
}
