/* tg-spend: fills, spends with 1, 8 and 64 callers, compares, reports. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/arguments.h"
#include "common/log.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "tests/bench/spend.h"
#include "tests/load/load.h"

enum { LOCKED_MEMORY = 1024 * 1024, KEPT_MEMORY = 256 * 1024 * 1024, COMPARE_SECONDS = 2, LONGEST = 60 };

/* `keys`: spent for each second that is asked for, so that a stage takes about that. */
static const struct stage {
    uint32_t callers, keys;
} stages[] = {{1, 600}, {8, 3000}, {64, 10000}};
enum { STAGES = sizeof stages / sizeof *stages };

static enum tg_code take_seconds(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, LONGEST, &((struct spend_options *)out)->seconds, err);
}

#define PLACE(member) offsetof(struct spend_options, member)
static const struct argument_row rows[] = {
    {"resolver", 0, "ADDRESS", PLACE(resolver), NULL},
    {"charger", 0, "ADDRESS", PLACE(charger), NULL},
    {"qkud", 0, "ID", PLACE(qkud), NULL},
    {"shield", 0, "ID", PLACE(shield), NULL},
    {"user", 0, "NAME", PLACE(user), NULL},
    {"password-file", 0, "FILE", PLACE(password_file), NULL},
    {"scratch", 0, "DIR", PLACE(scratch), NULL},
    {"pids", 0, "NAME=PID,…", PLACE(pids), NULL},
    {"seconds", 0, "N", 0, take_seconds},
    {"help", 'h', NULL, PLACE(help), NULL},
    {0},
};

static void help(void)
{
    puts("Usage: tg-spend --resolver ADDRESS --charger ADDRESS --qkud ID --shield ID --user NAME\n"
         "                --password-file FILE --scratch DIR [--seconds N] [--pids NAME=PID,…]\n"
         "Fill a registered shield with keys, spend each once, 1, 8 and 64 at a time, and report how fast "
         "that goes.\n"
         "\n"
         "      --resolver ADDRESS     the key store's listener for resolvers (ipc:///path), and\n"
         "      --charger ADDRESS      that for chargers\n"
         "      --scratch DIR          where to measure the disk itself: beside the key store's database\n"
         "      --pids NAME=PID,...    also report these processes' CPU time per spend\n"
         "      --seconds N            about so long for each number of callers (5)");
}

/* ---- one stage ---- */

struct measured {
    struct spend_result result[STAGES];
    double fdatasync_per_s, sqlite_per_s;
};

static double spent_us(double before_ms, double after_ms, size_t keys)
{
    return (after_ms - before_ms) * 1000.0 / (double)keys;
}

static void print_stage(const struct spend_result *result, const struct load_services *services, size_t keys)
{
    printf("%3u callers  %8.0f spends/s   p50 %6.2f ms   p99 %6.2f ms   max %6.2f ms\n", result->callers,
           result->per_s, result->p50_ms, result->p99_ms, result->max_ms);
    printf("             CPU per spend:");
    for (size_t i = 0; i < services->count; i++)
        printf(" %s %.0f µs,", services->at[i].name,
               spent_us(services->at[i].before_ms, services->at[i].after_ms, keys));
    printf(" tg-spend itself %.0f µs\n", spent_us(services->own_before_ms, services->own_after_ms, keys));
}

static enum tg_code run_stages(const struct spend_options *options, struct rpc_client *resolver,
                               const uint8_t (*tickets)[TICKET_LEN], struct measured *out,
                               struct tg_error *err)
{
    struct load_services services;
    TG_TRY(load_services_parse(options->pids, &services, err));
    for (size_t i = 0; i < STAGES; i++) {
        size_t keys = (size_t)stages[i].keys * options->seconds;
        TG_TRY(load_services_before(&services, err));
        TG_TRY(spend_run(resolver, options->qkud, tickets, keys, stages[i].callers, &out->result[i], err));
        TG_TRY(load_services_after(&services, err));
        print_stage(&out->result[i], &services, keys);
        tickets += keys;
    }
    return TG_OK;
}

/* ---- all of it ---- */

static enum tg_code spend_all(const struct spend_options *options, uint8_t (**tickets)[TICKET_LEN],
                              struct rpc_client **resolver, struct measured *out, struct tg_error *err)
{
    size_t keys = 0;
    for (size_t i = 0; i < STAGES; i++)
        keys += (size_t)stages[i].keys * options->seconds;
    printf("filling %zu keys\n", keys);
    fflush(stdout);
    TG_TRY(spend_fill(options, keys, tickets, err));
    TG_TRY(spend_open("key store", options->resolver, resolver, err));
    TG_TRY(run_stages(options, *resolver, (const uint8_t(*)[TICKET_LEN]) * tickets, out, err));
    TG_TRY(compare_fdatasync(options->scratch, COMPARE_SECONDS, &out->fdatasync_per_s, err));
    return compare_sqlite(options->scratch, COMPARE_SECONDS, &out->sqlite_per_s, err);
}

static void print_comparison(const struct measured *m)
{
    const struct spend_result *most = &m->result[STAGES - 1];
    printf("for comparison: %.0f/s raw fdatasync of a page, %.0f/s SQLite commits one by one;"
           " %u callers get %.1f and %.1f times that\n",
           m->fdatasync_per_s, m->sqlite_per_s, most->callers, most->per_s / m->fdatasync_per_s,
           most->per_s / m->sqlite_per_s);
}

static void print_line(const struct measured *m)
{
    const struct spend_result *most = &m->result[STAGES - 1];
    printf("spends_per_s=%.0f p50_ms=%.2f p99_ms=%.2f", most->per_s, most->p50_ms, most->p99_ms);
    for (size_t i = 0; i < STAGES - 1; i++)
        printf(" spends_per_s_%u=%.0f p50_ms_%u=%.2f p99_ms_%u=%.2f", m->result[i].callers,
               m->result[i].per_s, m->result[i].callers, m->result[i].p50_ms, m->result[i].callers,
               m->result[i].p99_ms);
    printf(" fdatasync_per_s=%.0f sqlite_one_by_one_per_s=%.0f\n", m->fdatasync_per_s, m->sqlite_per_s);
}

static enum tg_code check(const struct spend_options *o, struct tg_error *err)
{
    TG_ENSURE(o->resolver != NULL && o->charger != NULL && o->qkud != NULL && o->shield != NULL &&
                  o->user != NULL && o->password_file != NULL && o->scratch != NULL,
              err, TG_INVALID_ARGUMENT, "an option is missing: see --help");
    return TG_OK;
}

static enum tg_code run(const struct spend_options *options, struct tg_error *err)
{
    struct measured measured;
    struct rpc_client *resolver = NULL;
    uint8_t(*tickets)[TICKET_LEN] = NULL;
    TG_TRY(check(options, err));
    TG_TRY(secret_heap_open(LOCKED_MEMORY, err));
    enum tg_code code = spend_all(options, &tickets, &resolver, &measured, err);
    rpc_client_close(resolver);
    free(tickets);
    TG_TRY(code);
    print_comparison(&measured);
    print_line(&measured);
    return TG_OK;
}

int main(int argc, char **argv)
{
    struct spend_options options = {.seconds = 5};
    struct tg_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    log_open("tg-spend", LOG_ERROR, STDERR_FILENO);
    mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY); /* as tg-load: our own page faults are not what is measured */
    mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
    enum tg_code code = arguments_parse(argc, argv, rows, &options, &err);
    if (code == TG_OK && options.help) {
        help();
        return 0;
    }
    if (code == TG_OK)
        code = run(&options, &err);
    if (code != TG_OK)
        fprintf(stderr, "tg-spend: %s\n", err.text);
    return code == TG_OK ? 0 : 1;
}
