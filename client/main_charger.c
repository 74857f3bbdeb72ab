/* tg-charger: fills shields. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "client/charger/charger.h"
#include "client/exit_code.h"
#include "common/secret.h"

enum { LOCKED_MEMORY = 1024 * 1024 };

int main(int argc, char **argv)
{
    const struct rlimit none = {0};
    struct tg_error err;
    setrlimit(RLIMIT_CORE, &none); /* no keys or passwords in core dumps */
    signal(SIGPIPE, SIG_IGN);
    if (secret_heap_open(LOCKED_MEMORY, &err) != TG_OK) {
        fprintf(stderr, "tg-charger: %s\n", err.text);
        return EXIT_CONFIG;
    }
    return charger_command(argc, argv);
}
