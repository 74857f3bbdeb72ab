/* tg-spend: how many keys a running key centre can spend durably, and how long each caller waits. Inside of
 * the program: what its files share. */
#ifndef TG_TESTS_BENCH_SPEND_H
#define TG_TESTS_BENCH_SPEND_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ticket.h"

enum spend_limits {
    SPEND_CALLERS_MAX = 256,
    SPEND_KEYS_MAX = 4000000,
    SPEND_FILL = 1000,
    SPEND_BUDGET_MS = 20000
};

struct spend_options { /* texts are borrowed from argv */
    bool help;
    const char *resolver; /* the key store's listener for resolvers, and for chargers */
    const char *charger;
    const char *qkud, *shield, *user, *password_file;
    const char *scratch; /* a directory on the disk that the key store's database lies on */
    const char *pids;
    uint32_t seconds; /* about so long for each number of callers */
};

/* ---- spend_fill.c ---- */

/* `count` keys, made and confirmed; their tickets are the caller's to free(). */
enum tg_code spend_fill(const struct spend_options *options, size_t count, uint8_t (**tickets)[TICKET_LEN],
                        struct tg_error *err) TG_MUST_CHECK;

/* ---- spend_run.c ---- */

struct spend_result {
    uint32_t callers;
    double per_s, p50_ms, p99_ms, max_ms;
};

struct rpc_client;
/* Spends `count` tickets, `callers` at a time, each under a request id of its own. Fails when one fails. */
enum tg_code spend_run(struct rpc_client *resolver, const char *qkud, const uint8_t (*tickets)[TICKET_LEN],
                       size_t count, uint32_t callers, struct spend_result *out,
                       struct tg_error *err) TG_MUST_CHECK;
enum tg_code spend_open(const char *name, const char *address, struct rpc_client **out,
                        struct tg_error *err) TG_MUST_CHECK;

/* ---- spend_compare.c: what the same disk does without us ---- */

/* Appends of one page, each followed by fdatasync. */
enum tg_code compare_fdatasync(const char *directory, uint32_t seconds, double *per_s,
                               struct tg_error *err) TG_MUST_CHECK;
/* SQLite as the key store has it set, one update a transaction. */
enum tg_code compare_sqlite(const char *directory, uint32_t seconds, double *per_s,
                            struct tg_error *err) TG_MUST_CHECK;

#endif
