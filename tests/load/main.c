/* tg-load: how many complete logins a running instance takes. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "common/secret.h"
#include "tests/load/load.h"

enum { LOCKED_MEMORY = 4 * 1024 * 1024, EXIT_SOME_FAILED = 1, KEPT_MEMORY = 256 * 1024 * 1024 };

static int fail(const struct tg_error *err, int how)
{
    fprintf(stderr, "tg-load: %s\n", err->text);
    return how;
}

static int run(const struct load_options *options, struct load_services *services)
{
    struct load_results results;
    struct tg_error err;
    if (load_results_init(&results, LOAD_LOGINS_MAX, &err) != TG_OK)
        return fail(&err, EXIT_INTERNAL);
    int how = EXIT_OK;
    if (load_run(options, &results, services, &err) != TG_OK)
        how = fail(&err, EXIT_CONFIG);
    else
        load_report(options, &results, services);
    if (how == EXIT_OK && results.failed > 0)
        how = EXIT_SOME_FAILED;
    load_results_fini(&results);
    return how;
}

int main(int argc, char **argv)
{
    struct load_options options;
    struct load_services services;
    struct tg_error err;
    signal(SIGPIPE, SIG_IGN);
    /* Buffers come and go with each login: giving them back to the kernel each time would only measure page
     * faults. */
    mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
    mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
    if (load_options_parse(argc, argv, &options, &err) != TG_OK ||
        load_services_parse(options.pids, &services, &err) != TG_OK)
        return fail(&err, EXIT_USAGE);
    if (options.help) {
        load_help();
        return EXIT_OK;
    }
    if (options.version) {
        puts("tg-load (TicketGate) " TG_VERSION);
        return EXIT_OK;
    }
    if (secret_heap_open(LOCKED_MEMORY, &err) != TG_OK)
        return fail(&err, EXIT_CONFIG);
    return run(&options, &services);
}
