/* tg-crash: a key centre under load, killed, cut off from power and given failing disks over and over. What
 * it acknowledged is written down here, in the driver's memory, and asked for again. Inside of the program:
 * what its files share. One thread, but for callbacks of RPC and the supply of keys. */
#ifndef TG_TESTS_CRASH_CRASH_H
#define TG_TESTS_CRASH_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc/rpc.h"
#include "common/ticket.h"
#include "tests/crash/fault.h"
#include "tests/integration/harness.h"

enum crash_chances { SHIMMED = 70 /* per cent of starts */, CUT = 60 /* of kills */ };
enum crash_limits { ANSWER_DIGEST_LEN = 32, SETTLE_MS = 60000, BUDGET_MS = 4000, FIXED_BUDGET_MS = 20000 };

/* ---- random.c: reproducible as far as a schedule of several processes can be ---- */

void random_seed(uint64_t seed);
uint64_t random_below(uint64_t bound);
static inline bool chance(unsigned percent)
{
    return random_below(100) < percent;
}

/* ---- tally.c: what was found ---- */

struct tally {
    unsigned rounds, twice, lost, audit_lost, inconsistent, other;
    unsigned kills, cuts, bursts;
    uint64_t spends, probes, injected, checkpoints;
};
extern struct tally tally;

enum finding { SPENT_TWICE, LOST, AUDIT_LOST, INCONSISTENT, OTHER };
/* Counts it and says it, with the round. */
void found(enum finding finding, const char *fmt, ...) TG_PRINTF(2, 3);
void tally_print(void);
bool tally_clean(void);

/* ---- bank.c: the processes ---- */

struct bank {
    struct instance *instance;
    unsigned starts;
    bool shimmed[PARTS];
    struct fault_control *fault[PARTS]; /* of the parts that keep files, and under PART_WEB of shields */
    struct rpc_client *resolver, *charger, *audit, *operator;
};
extern struct bank bank;
#define PART_SHIELDS PART_WEB /* no web server runs here */

void bank_open(void);
void bank_close(void);
/* Starts a part, under the shims or not, and waits until it is ready. */
void bank_start(enum part part, bool shimmed);
void bank_start_begin(enum part part, bool shimmed);
void bank_await_ready(enum part part);
/* Starts it after a kill; sometimes it is killed once more before it is ready, in the middle of recovery. */
void bank_start_again(enum part part);
/* kill -9. With `cut`, and if it ran under the shims, what it did not sync is gone as well. */
void bank_kill(enum part part, bool cut);
/* argv of `program` as it runs under the shims of `part`: NULL-terminated, in storage of its own until the
 * next call. */
const char *const *bank_under_shims(enum part part, const char *const *argv);
void bank_cut(enum part part);
void bank_forget(enum part part); /* as power_forget */
const char *bank_log(enum part part);

/* ---- spends.c: tickets, and who was given their keys ---- */

struct entry {
    uint8_t ticket[TICKET_LEN];
    uint8_t ids[2][REQUEST_ID_LEN]; /* of the caller, and of a rival who comes with the same ticket */
    bool rival;
    bool given[2], refused[2];
    uint8_t digest[ANSWER_DIGEST_LEN]; /* of the answer that was given */
};

/* Takes a confirmed ticket into the books. */
void spends_add(const uint8_t ticket[TICKET_LEN]);
/* Asks for all that is new, from many callers at once; returns at once. */
void spends_begin(void);
size_t spends_ended(void);
size_t spends_begun(void);
/* Waits for the answers, and asks again until each ticket's fate is known. `faults`: nothing was killed, so
 * only some codes may come. */
void spends_settle(bool faults);
/* Every ticket of this round, and some older ones (or all): the same request is answered alike, any other is
 * refused. */
void spends_check(bool all);
/* Each request id that was answered OK in this round. */
void spends_each_given(void (*each)(const uint8_t id[REQUEST_ID_LEN]));

/* ---- supply.c: fresh keys for the next round, made while this one is under way ---- */

void supply_begin(uint32_t count);
/* Waits until its keys are confirmed; and takes them into the books. */
void supply_await(void);
void supply_end(void);
/* Keys that lie ready all the time, for rotations to work on; they are spent at the very end. */
void supply_lay_up(void);
void supply_use_up(size_t most);

/* ---- rotation.c ---- */

/* One round's victim: the key store while it wraps all keys anew under another KEK; then it goes on without
 * the old. */
void rotation_killed(void);

/* ---- events.c: the audit log ---- */

void events_begin(void); /* reports some events of our own */
void events_end(void);
/* Everything acknowledged so far stands in the log. */
void events_check(void);
/* tgctl audit verify, and what was seen of the log before. */
void events_verify(void);

/* ---- checkpoints.c ---- */

/* Remembers the checkpoint that the log shows now. */
void checkpoints_look(void);
/* The log as it is now continues each of those (`all`, or those since the last time). */
void checkpoints_check(bool all);

/* ---- shields.c: shield files, and the charger ---- */

void shields_open(void);
/* Each is one round's victim. */
void shields_worker_killed(void);
void shields_charger_killed(bool store_too);
/* Takes what was filled into the books; nothing may be asked meanwhile. */
void shields_hand_over(void);

#endif
