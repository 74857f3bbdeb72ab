#include "common/service/args.h"

#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

enum { OPTION_CHECK_CONFIG = 256, OPTION_CONFIG_HELP };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
    {"config-help", no_argument, NULL, OPTION_CONFIG_HELP},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Laid out so that help2man makes the man page from it. */
static const char help[] =
    "\nOptions:\n"
    "  -c, --config FILE    read the configuration (YAML) from FILE; required to run\n"
    "      --check-config   check that configuration, say so and exit\n"
    "      --config-help    list every configuration key with type, bounds and default\n"
    "  -V, --version        print the version\n"
    "  -h, --help           print this\n"
    "\nSignals:\n"
    "  SIGHUP               read the configuration anew; one that is not good is logged and not used\n"
    "  SIGTERM, SIGINT      finish the calls under way, then end; the second one ends at once\n"
    "\nExit status:\n"
    "  0    ended as asked\n"
    "  1    could not start; the last line of the log says why\n"
    "  64   the arguments are not right\n"
    "  70   a broken invariant, a defect of this program: please report it\n"
    "  78   the configuration is not good; file, line and column are named\n";

static void print_help(const struct service *service)
{
    printf("Usage: tg-%s --config FILE [--check-config]\n", service->name);
    printf("       tg-%s --config-help | --version | --help\n", service->name);
    printf("%s\n%s\nExamples:\n  %s\n", service->summary, help, service->example);
}

static int refuse(const struct service *service, const char *what)
{
    if (what != NULL)
        fprintf(stderr, "tg-%s: %s\n", service->name, what);
    fprintf(stderr, "Try 'tg-%s --help'.\n", service->name);
    return EX_USAGE;
}

/* One option; ARGS_RUN: go on with the next. */
static int take(const struct service *service, const struct config_row *rows, int option, struct args *args)
{
    switch (option) {
    case 'c':
        if (args->config != NULL)
            return refuse(service, "--config is given twice; one file is read");
        args->config = optarg;
        return ARGS_RUN;
    case OPTION_CHECK_CONFIG:
        args->check_config = true;
        return ARGS_RUN;
    case OPTION_CONFIG_HELP:
        config_help(rows);
        return EX_OK;
    case 'V':
        printf("tg-%s (TicketGate) %s\n", service->name, TG_VERSION);
        return EX_OK;
    case 'h':
        print_help(service);
        return EX_OK;
    default:
        return refuse(service, NULL); /* getopt_long has said what it does not know */
    }
}

int args_parse(const struct service *service, const struct config_row *rows, int argc, char **argv,
               struct args *args)
{
    *args = (struct args){0};
    int option;
    while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        int code = take(service, rows, option, args);
        if (code != ARGS_RUN)
            return code;
    }
    if (optind < argc)
        return refuse(service, "takes options only; put the file after --config");
    if (args->config == NULL)
        return refuse(service, "--config FILE is missing");
    return ARGS_RUN;
}
