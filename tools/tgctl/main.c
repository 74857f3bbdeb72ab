#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "tools/tgctl/tgctl.h"

enum { SECRET_HEAP = 64 * 1024 };

/* What may stand before the command. */
struct global_options {
    const char *config;
    bool json;
    int first; /* of argv: the command */
};

/* -1: go on; otherwise the exit code. */
static int read_globals(int argc, char **argv, struct global_options *globals)
{
    enum { CONFIG = 1, JSON, CONFIG_HELP, VERSION, HELP };
    static const struct option rows[] = {
        {"config", required_argument, NULL, CONFIG},
        {"json", no_argument, NULL, JSON},
        {"config-help", no_argument, NULL, CONFIG_HELP},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    int got;

    while ((got = getopt_long(argc, argv, "+c:h", rows, NULL)) != -1) {
        switch (got) {
        case CONFIG:
        case 'c':
            globals->config = optarg;
            break;
        case JSON:
            globals->json = true;
            break;
        case CONFIG_HELP:
            config_help(tgctl_config_rows);
            return EXIT_DONE;
        case VERSION:
            printf("tgctl %s\n", TG_VERSION);
            return EXIT_DONE;
        case HELP:
        case 'h':
            tgctl_help(stdout);
            return EXIT_DONE;
        default:
            return EXIT_USAGE; /* getopt has said why */
        }
    }
    globals->first = optind;
    return -1;
}

static int run_command(const struct tgctl_command *command, const struct global_options *globals,
                       const struct tgctl_arguments *arguments)
{
    struct tgctl ctl = {.json = globals->json || arguments->json, .out = stdout, .in = stdin};
    struct tg_error err;
    int code;

    if (config_read(globals->config, tgctl_config_rows, &ctl.config, &err) != TG_OK ||
        secret_heap_open(SECRET_HEAP, &err) != TG_OK) {
        fprintf(stderr, "tgctl: %s\n", err.text);
        return EXIT_CONFIG;
    }
    code = (int)command->run(&ctl, arguments);
    config_free(tgctl_config_rows, &ctl.config);
    secret_heap_close();
    return code;
}

int main(int argc, char **argv)
{
    struct global_options globals = {.config = TGCTL_CONFIG_DEFAULT};
    const struct tgctl_command *command;
    struct tgctl_arguments arguments;
    struct tg_error err;
    int code;
    int used;

    log_open("tgctl", LOG_ERROR, 2);
    signal(SIGPIPE, SIG_IGN);
    code = read_globals(argc, argv, &globals);
    if (code >= 0)
        return code;
    command = tgctl_find(argc - globals.first, argv + globals.first, &used);
    if (command == NULL) {
        fprintf(stderr, "tgctl: %s; tgctl --help lists the commands\n",
                globals.first < argc ? "no such command" : "which command?");
        return EXIT_USAGE;
    }
    used += globals.first;
    if (arguments_read(command, argc - used + 1, argv + used - 1, &arguments, &err) != TG_OK) {
        fprintf(stderr, "tgctl: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (arguments.help) {
        tgctl_command_help(command, stdout);
        return EXIT_DONE;
    }
    return run_command(command, &globals, &arguments);
}
