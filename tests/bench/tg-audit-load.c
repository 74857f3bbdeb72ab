/* tg-audit-load: how many events a running audit service makes durable, and how long each caller waits. A
 * caller has one event under way at any time and waits until it is durable, as a login does; they report
 * through the services' own client, which sends what has queued up in batches.
 *
 *   tg-audit-load ADDRESS SECONDS CALLERS...
 *
 * A row for each number of callers; the last line is key=value for the last of them. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/audit_client.h"
#include "common/pb.h"
#include "common/trace.h"

enum { CALLERS_MAX = 1024, LATENCIES_MAX = 4 << 20, BUDGET_MS = 20000, READY_MS = 10000 };

struct run {
    struct audit_client *audit;
    uint64_t end_us;
    atomic_size_t count;
    uint32_t *latencies_us;

    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned running;
    struct tg_error failure; /* the first */
};

struct caller {
    struct run *run;
    uint64_t start_us;
    char session[33];
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void on_durable(void *arg, enum tg_code status, const char *text);

/* As large as what a gateway reports of a login. */
static void report_next(struct caller *caller)
{
    uint8_t ticket[64] = {1};
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("login.accepted");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.trace_id = caller->session;
    event.session_id = caller->session;
    event.user = pb_string("alice");
    event.ticket = pb_bytes(ticket, sizeof ticket);
    event.source = pb_string("192.0.2.7:40001");
    event.qkud_id = pb_string("branch-7");
    event.shield_id = pb_string("shield-12");
    event.policy = pb_string("core-ops");
    caller->start_us = now_us();
    audit_report(caller->run->audit, &event, BUDGET_MS, on_durable, caller);
}

static void leave(struct run *run, enum tg_code status, const char *text)
{
    pthread_mutex_lock(&run->lock);
    if (status != TG_OK && run->failure.code == TG_OK)
        (void)tg_fail(&run->failure, status, "an event was not durable: %s", text);
    if (--run->running == 0)
        pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
}

static void on_durable(void *arg, enum tg_code status, const char *text)
{
    struct caller *caller = arg;
    struct run *run = caller->run;
    uint64_t now = now_us();
    size_t place = status == TG_OK ? atomic_fetch_add(&run->count, 1) : LATENCIES_MAX;
    if (place < LATENCIES_MAX)
        run->latencies_us[place] = (uint32_t)(now - caller->start_us);
    if (place < LATENCIES_MAX && now < run->end_us)
        report_next(caller);
    else
        leave(run, status, text);
}

static void run_callers(struct run *run, unsigned callers)
{
    static struct caller all[CALLERS_MAX];
    run->running = callers;
    for (unsigned i = 0; i < callers; i++) {
        all[i] = (struct caller){.run = run};
        snprintf(all[i].session, sizeof all[i].session, "%032x", i);
        report_next(&all[i]);
    }
    pthread_mutex_lock(&run->lock);
    while (run->running > 0)
        pthread_cond_wait(&run->ended, &run->lock);
    pthread_mutex_unlock(&run->lock);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;
    return (*x > *y) - (*x < *y);
}

struct figures {
    double per_s, p50_ms, p99_ms, max_ms;
};

static double milliseconds(const struct run *run, size_t place)
{
    return run->latencies_us[place] / 1e3;
}

static bool measure(struct audit_client *audit, unsigned seconds, unsigned callers, struct figures *out)
{
    struct run run = {.audit = audit,
                      .latencies_us = calloc(LATENCIES_MAX, sizeof *run.latencies_us),
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .ended = PTHREAD_COND_INITIALIZER};
    if (run.latencies_us == NULL)
        return false;
    uint64_t start_us = now_us();
    run.end_us = start_us + seconds * UINT64_C(1000000);
    run_callers(&run, callers);
    double took_s = (double)(now_us() - start_us) / 1e6;
    size_t count = run.count < LATENCIES_MAX ? run.count : LATENCIES_MAX;
    qsort(run.latencies_us, count, sizeof *run.latencies_us, by_value);
    if (count > 0)
        *out = (struct figures){(double)count / took_s, milliseconds(&run, count / 2),
                                milliseconds(&run, count - 1 - count / 100), milliseconds(&run, count - 1)};
    free(run.latencies_us);
    if (run.failure.code != TG_OK)
        fprintf(stderr, "tg-audit-load: %s\n", run.failure.text);
    return run.failure.code == TG_OK && count > 0;
}

static bool wait_ready(struct audit_client *audit)
{
    const struct timespec moment = {0, 10000000};
    uint64_t until_ms = clock_now_ms() + READY_MS;
    while (!audit_client_ready(audit) && clock_now_ms() < until_ms)
        nanosleep(&moment, NULL);
    return audit_client_ready(audit);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    struct audit_client *audit = NULL;
    struct tg_error err = {0};
    struct figures figures = {0};
    if (seconds == 0) {
        fprintf(stderr, "usage: tg-audit-load ADDRESS SECONDS CALLERS...\n");
        return EX_USAGE;
    }
    char *endpoints[] = {argv[1]};
    struct audit_services services = {.first = {.endpoints = {endpoints, 1}}, .must_ack = 1};
    if (audit_client_open(&audit, "bench", &services, &err) != TG_OK || !wait_ready(audit)) {
        fprintf(stderr, "tg-audit-load: no audit service at %s %s\n", argv[1], err.text);
        return EX_UNAVAILABLE;
    }
    bool good = true;
    printf("%8s %12s %9s %9s %9s\n", "callers", "events/s", "p50 ms", "p99 ms", "max ms");
    for (int i = 3; good && i < argc; i++) {
        unsigned callers = (unsigned)strtoul(argv[i], NULL, 10);
        good = callers > 0 && callers <= CALLERS_MAX && measure(audit, seconds, callers, &figures);
        printf("%8u %12.0f %9.2f %9.2f %9.2f\n", callers, figures.per_s, figures.p50_ms, figures.p99_ms,
               figures.max_ms);
    }
    audit_client_close(audit, BUDGET_MS);
    printf("events_per_s=%.0f p50_ms=%.2f p99_ms=%.2f\n", figures.per_s, figures.p50_ms, figures.p99_ms);
    return good ? 0 : 1;
}
