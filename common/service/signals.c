#include "common/service/signals.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/error.h"

/* tg_panic has said what was broken; the exit code tells it to whoever supervises us (sysexits.h). */
static void exit_on_abort(int number)
{
    (void)number;
    _exit(EX_SOFTWARE);
}

static sigset_t handled(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

void signals_block(void)
{
    sigset_t set = handled();
    struct sigaction action = {.sa_handler = SIG_IGN};
    TG_INVARIANT(sigaction(SIGPIPE, &action, NULL) == 0); /* a peer that is gone is an error of write() */
    TG_INVARIANT(sigaction(SIGXFSZ, &action, NULL) == 0); /* and so is a file at its limit */
    action.sa_handler = exit_on_abort;
    TG_INVARIANT(sigaction(SIGABRT, &action, NULL) == 0);
    TG_INVARIANT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

int signals_wait(void)
{
    sigset_t set = handled();
    int number = 0;
    TG_INVARIANT(sigwait(&set, &number) == 0);
    return number;
}

void signals_let_kill(void)
{
    sigset_t set;
    const struct sigaction action = {.sa_handler = SIG_DFL};
    TG_INVARIANT(sigaction(SIGTERM, &action, NULL) == 0);
    TG_INVARIANT(sigaction(SIGINT, &action, NULL) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    TG_INVARIANT(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}
