#include <stdarg.h>
#include <stdio.h>

#include "tests/crash/crash.h"

struct tally tally;

void found(enum finding finding, const char *fmt, ...)
{
    static unsigned *const counters[] = {
        [SPENT_TWICE] = &tally.twice,         [LOST] = &tally.lost,   [AUDIT_LOST] = &tally.audit_lost,
        [INCONSISTENT] = &tally.inconsistent, [OTHER] = &tally.other,
    };
    static const char *const names[] = {
        [SPENT_TWICE] = "spent twice",
        [LOST] = "acknowledged, lost",
        [AUDIT_LOST] = "acknowledged, not in the audit log",
        [INCONSISTENT] = "audit log inconsistent",
        [OTHER] = "failed",
    };
    va_list args;
    ++*counters[finding];
    printf("round %u: %s: ", tally.rounds, names[finding]);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void tally_print(void)
{
    printf("%llu spends and %llu audit events acknowledged, %llu checkpoints seen; %u times killed, %u power "
           "cuts, %u bursts of "
           "failing calls"
           " (%llu failed)\n",
           (unsigned long long)tally.spends, (unsigned long long)tally.probes,
           (unsigned long long)tally.checkpoints, tally.kills, tally.cuts, tally.bursts,
           (unsigned long long)tally.injected);
    if (tally.other > 0)
        printf("%u other failures, see above\n", tally.other);
    printf("audit: acknowledged lost: %u, inconsistent checkpoints: %u\n", tally.audit_lost,
           tally.inconsistent);
    printf("rounds: %u, spent twice: %u, acknowledged lost: %u\n", tally.rounds, tally.twice, tally.lost);
}

bool tally_clean(void)
{
    return tally.twice + tally.lost + tally.audit_lost + tally.inconsistent + tally.other == 0;
}
