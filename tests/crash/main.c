/* sh tests/run.sh crash [ROUNDS]: see crash.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <unistd.h>

#include "common/log.h"
#include "common/trace.h"
#include "tests/crash/crash.h"

enum {
    ROUNDS_MAX = 1000000,
    KEYS = 60,       /* of a round */
    DIES_AGAIN = 15, /* of starts */
    PAUSE_MAX_US = 4000,
    BURST_MAX_US = 250000,
    VERIFY_EVERY = 20,
    TELL_EVERY = 20,
    RECOVERED_EVERY = 10,
    SIGNED_US = 1200000 /* after which a checkpoint covers what was appended before */
};

/* ---- when: at some moment while spends are under way ---- */

static void await_moment(void)
{
    size_t some = (size_t)random_below(spends_begun() + 1);
    uint64_t deadline_ms = clock_now_ms() + BUDGET_MS;
    while (spends_ended() < some && clock_now_ms() < deadline_ms)
        usleep(200);
    usleep((useconds_t)random_below(PAUSE_MAX_US));
}

static void kill_and_start(enum part part)
{
    await_moment();
    bank_kill(part, chance(CUT));
    bank_start_again(part);
}

/* ---- victims ---- */

static bool store_killed(void)
{
    kill_and_start(PART_KEY_STORE);
    return false;
}

static bool audit_killed(void)
{
    kill_and_start(PART_AUDIT);
    return false;
}

static bool resolver_killed(void)
{
    kill_and_start(PART_RESOLVER);
    return false;
}

/* The whole machine. */
static bool all_killed(void)
{
    bool cut = chance(CUT);
    await_moment();
    bank_kill(PART_RESOLVER, cut);
    bank_kill(PART_KEY_STORE, cut);
    bank_kill(PART_AUDIT, cut);
    bank_start_again(PART_AUDIT);
    bank_start_again(PART_KEY_STORE);
    bank_start_again(PART_RESOLVER);
    return false;
}

static bool worker_killed(void)
{
    shields_worker_killed();
    return false;
}

static bool charger_killed(void)
{
    shields_charger_killed(false);
    return false;
}

static bool charger_and_store_killed(void)
{
    shields_charger_killed(true);
    return false;
}

static bool rotating_killed(void)
{
    rotation_killed();
    return false;
}

/* Its disk fails for a while; then it must go on by itself, or, one time in three, it is killed just then.
 * True: it was not. */
static bool burst(enum part part)
{
    struct fault_control *fault = bank.fault[part];
    usleep((useconds_t)random_below(BURST_MAX_US));
    bool survives = !chance(33);
    if (!survives)
        bank_kill(part, true);
    fault->per_million = 0;
    if (!survives)
        bank_start_again(part);
    return survives;
}

/* Before the load, so that it meets a failing disk from the start. */
static void begin_burst(enum part part)
{
    static const uint32_t calls[] = {FAULT_ALL, FAULT_SYNC, FAULT_WRITE, FAULT_ALL};
    static const uint32_t often[] = {20000, 200000, 1000000};
    struct fault_control *fault = bank.fault[part];
    if (!bank.shimmed[part]) {
        bank_kill(part, false);
        bank_start(part, true);
    }
    tally.bursts++;
    fault->calls = calls[random_below(4)];
    fault->per_million = often[random_below(3)];
}

static bool store_fails(void)
{
    return burst(PART_KEY_STORE);
}

static bool audit_fails(void)
{
    return burst(PART_AUDIT);
}

static const struct victim {
    const char *name;
    unsigned weight;
    bool (*round)(void); /* true: nothing was killed */
    enum part failing;   /* whose disk fails; 0: nobody's */
} victims[] = {
    {"key store", 25, store_killed, 0},
    {"audit", 20, audit_killed, 0},
    {"resolver", 6, resolver_killed, 0},
    {"the whole centre", 8, all_killed, 0},
    {"key store's disk", 8, store_fails, PART_KEY_STORE},
    {"audit's disk", 8, audit_fails, PART_AUDIT},
    {"shield file", 15, worker_killed, 0},
    {"charger", 6, charger_killed, 0},
    {"charger and key store", 4, charger_and_store_killed, 0},
    {"rotation", 6, rotating_killed, 0},
};
enum { VICTIMS = sizeof victims / sizeof *victims };

static const struct victim *choose(void)
{
    unsigned all = 0;
    for (size_t i = 0; i < VICTIMS; i++)
        all += victims[i].weight;
    unsigned at = (unsigned)random_below(all);
    const struct victim *victim = victims;
    while (at >= victim->weight)
        at -= victim++->weight;
    return victim;
}

/* ---- rounds ---- */

/* A transaction that was written but could not be synced, found again after kill -9: whoever is answered from
 * it must not lose it when the power fails next. Nothing else may be written meanwhile, or it would be synced
 * along. */
static void recovered_then_cut(void)
{
    begin_burst(PART_KEY_STORE);
    bank.fault[PART_KEY_STORE]->calls = FAULT_SYNC;
    bank.fault[PART_KEY_STORE]->per_million = 1000000;
    supply_use_up(1);
    spends_begin();
    usleep(BURST_MAX_US / 5);
    bank_kill(PART_KEY_STORE, false);
    bank.fault[PART_KEY_STORE]->per_million = 0;
    bank_start(PART_KEY_STORE, true);
    spends_settle(false);
    bank_kill(PART_KEY_STORE, true);
    bank_start_again(PART_KEY_STORE);
    spends_check(false);
}

/* The same of the audit log, where what recovery found is soon signed for. */
static void recovered_then_cut_audit(void)
{
    begin_burst(PART_AUDIT);
    bank.fault[PART_AUDIT]->calls = FAULT_SYNC;
    bank.fault[PART_AUDIT]->per_million = 1000000;
    events_begin();
    usleep(BURST_MAX_US / 5);
    bank_kill(PART_AUDIT, false);
    bank.fault[PART_AUDIT]->per_million = 0;
    bank_start(PART_AUDIT, true);
    events_end();
    usleep(SIGNED_US);
    checkpoints_look();
    bank_kill(PART_AUDIT, true);
    bank_start_again(PART_AUDIT);
    events_check();
}

static void one_round(const struct victim *victim)
{
    if (victim->failing != 0)
        begin_burst(victim->failing);
    supply_begin(KEYS);
    events_begin();
    spends_begin();
    bool faults = victim->round();
    events_end();
    spends_settle(faults);
    events_check();
    checkpoints_look();
    spends_check(false);
    supply_await();
    if (tally.rounds % RECOVERED_EVERY == 0)
        recovered_then_cut();
    if (tally.rounds % VERIFY_EVERY == 0)
        recovered_then_cut_audit();
    supply_end();
    shields_hand_over();
    for (enum part part = PART_AUDIT; part <= PART_RESOLVER; part++)
        if (!process_running(&bank.instance->parts[part]))
            found(OTHER, "%s ended by itself; its log is %s", part_name(part), bank_log(part));
}

static void run_rounds(unsigned rounds)
{
    supply_lay_up();
    supply_begin(KEYS);
    supply_await();
    supply_end();
    while (tally.rounds < rounds && tally.other == 0) {
        const struct victim *victim = choose();
        tally.rounds++;
        one_round(victim);
        if (tally.rounds % VERIFY_EVERY == 0) {
            checkpoints_check(false);
            events_verify();
        }
        if (tally.rounds % TELL_EVERY == 0 || tally.rounds == rounds)
            printf("round %u of %u: %llu spends acknowledged, %u kills, %u power cuts, %u bursts\n",
                   tally.rounds, rounds, (unsigned long long)tally.spends, tally.kills, tally.cuts,
                   tally.bursts);
        fflush(stdout);
    }
    if (tally.other > 0)
        return; /* what follows would wait in vain */
    supply_use_up(SIZE_MAX);
    spends_begin();
    spends_settle(true);
    events_check();
    spends_check(true);
    checkpoints_check(true);
    events_verify();
}

/* To see the rounds fail: disks that say they have synced and have not. */
static void let_disks_lie(void)
{
    static const enum part keepers[] = {PART_AUDIT, PART_KEY_STORE, PART_SHIELDS};
    for (size_t i = 0; i < sizeof keepers / sizeof *keepers; i++)
        bank.fault[keepers[i]]->lies = 1;
}

int main(int argc, char **argv)
{
    bool lying = argc > 3 && strcmp(argv[3], "lying-disks") == 0;
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_unix_us();
    if (rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: tg-crash [ROUNDS [SEED [lying-disks]]]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    log_open("tg-crash", LOG_ERROR, STDERR_FILENO);
    random_seed(seed);
    printf("%u rounds, seed %llu\n", rounds, (unsigned long long)seed);
    bank_open();
    printf("instance: %s\n", bank.instance->dir);
    shields_open();
    if (lying)
        let_disks_lie();
    run_rounds(rounds);
    bank_close();
    tally_print();
    return tally_clean() ? 0 : 1;
}
