/* ticketgate: the user's program. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "client/commands.h"
#include "client/exit_code.h"
#include "common/secret.h"

enum { LOCKED_MEMORY = 256 * 1024 };

static int help_command(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("Usage: ticketgate COMMAND [OPTION]...\n"
         "Log in to a bank's intranet with a key ticket from a shield, and work on it.\n"
         "\n"
         "Commands:\n"
         "  connect        log in and forward connections\n"
         "  shield status  show what is left on a shield\n"
         "  --help         show this\n"
         "  --version      show the version\n");
    connect_help(stdout);
    puts("");
    shield_help(stdout);
    exit_print_table(stdout);
    puts("\nExamples:\n"
         "  ticketgate connect -g vpn.bank.example --ca bank-ca.crt -u alice -s /media/shield/alice.tgs \\\n"
         "      -L 8080:intranet.bank.example:80\n"
         "\n"
         "  in ~/.ssh/config:\n"
         "  Host *.bank.example\n"
         "      ProxyCommand ticketgate connect -g vpn.bank.example --ca ~/bank-ca.crt -u alice \\\n"
         "          -s /media/shield/alice.tgs --quiet -W %h:%p");
    return EXIT_OK;
}

static int version_command(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("ticketgate (TicketGate) " TG_VERSION);
    return EXIT_OK;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"connect", connect_command}, {"shield", shield_command},     {"--help", help_command},
    {"-h", help_command},         {"--version", version_command},
};

int main(int argc, char **argv)
{
    const struct rlimit none = {0};
    struct tg_error err;
    setrlimit(RLIMIT_CORE, &none); /* no keys or passwords in core dumps */
    signal(SIGPIPE, SIG_IGN);
    if (secret_heap_open(LOCKED_MEMORY, &err) != TG_OK) {
        fprintf(stderr, "ticketgate: %s\n", err.text);
        return EXIT_CONFIG;
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "ticketgate: %s%s; see ticketgate --help\n",
            argc > 1 ? "no such command: " : "a command is missing", argc > 1 ? argv[1] : "");
    return EXIT_USAGE;
}
