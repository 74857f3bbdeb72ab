/* Callers, each of whom has one spend under way at any time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/pb.h"
#include "common/rpc/rpc.h"
#include "common/trace.h"
#include "proto/key_store.pb-c.h"
#include "tests/bench/spend.h"

struct run {
    struct rpc_client *resolver;
    const char *qkud;
    const uint8_t (*tickets)[TICKET_LEN];
    size_t count;
    atomic_size_t next;
    uint32_t *latencies_us; /* by ticket */

    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint32_t running;
    struct tg_error failure; /* the first */
};

struct caller {
    struct run *run;
    size_t ticket;
    uint64_t start_us;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void leave(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    if (--run->running == 0)
        pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
}

static void on_spent(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response);

static void spend_next(struct caller *caller)
{
    struct run *run = caller->run;
    caller->ticket = atomic_fetch_add(&run->next, 1);
    if (caller->ticket >= run->count) {
        leave(run);
        return;
    }
    Tg__SpendRequest request = TG__SPEND_REQUEST__INIT;
    request.ticket = pb_bytes(run->tickets[caller->ticket], TICKET_LEN);
    request.qkud_id = pb_string(run->qkud);
    request.source = pb_string("192.0.2.1:1");
    caller->start_us = now_us();
    rpc_start(run->resolver,
              &(struct rpc_request){.service = &tg__key_store__descriptor,
                                    .method = "Spend",
                                    .message = &request.base,
                                    .budget_ms = SPEND_BUDGET_MS},
              on_spent, caller);
}

static void on_spent(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct caller *caller = arg;
    struct run *run = caller->run;
    (void)response;
    if (status == TG_OK) {
        run->latencies_us[caller->ticket] = (uint32_t)(now_us() - caller->start_us);
        spend_next(caller);
        return;
    }
    pthread_mutex_lock(&run->lock);
    if (run->failure.code == TG_OK)
        (void)tg_fail(&run->failure, status, "a spend failed: %s", text);
    pthread_mutex_unlock(&run->lock);
    leave(run);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile_ms(const struct run *run, size_t percent)
{
    size_t at = (run->count * percent + 99) / 100 - 1;
    return run->latencies_us[at] / 1000.0;
}

static void run_callers(struct run *run, uint32_t callers)
{
    struct caller all[SPEND_CALLERS_MAX];
    run->running = callers;
    for (uint32_t i = 0; i < callers; i++) {
        all[i] = (struct caller){.run = run};
        spend_next(&all[i]);
    }
    pthread_mutex_lock(&run->lock);
    while (run->running > 0)
        pthread_cond_wait(&run->ended, &run->lock);
    pthread_mutex_unlock(&run->lock);
}

enum tg_code spend_run(struct rpc_client *resolver, const char *qkud, const uint8_t (*tickets)[TICKET_LEN],
                       size_t count, uint32_t callers, struct spend_result *out, struct tg_error *err)
{
    TG_INVARIANT(count > 0 && callers > 0 && callers <= SPEND_CALLERS_MAX);
    struct run run = {.resolver = resolver,
                      .qkud = qkud,
                      .tickets = tickets,
                      .count = count,
                      .latencies_us = calloc(count, sizeof *run.latencies_us),
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .ended = PTHREAD_COND_INITIALIZER};
    TG_ENSURE(run.latencies_us != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    uint64_t start_us = now_us();
    run_callers(&run, callers);
    double seconds = (double)(now_us() - start_us) / 1e6;
    qsort(run.latencies_us, count, sizeof *run.latencies_us, by_value);
    *out = (struct spend_result){.callers = callers,
                                 .per_s = (double)count / seconds,
                                 .p50_ms = percentile_ms(&run, 50),
                                 .p99_ms = percentile_ms(&run, 99),
                                 .max_ms = percentile_ms(&run, 100)};
    free(run.latencies_us);
    TG_ENSURE(run.failure.code == TG_OK, err, run.failure.code, "%s", run.failure.text);
    return TG_OK;
}

enum tg_code spend_open(const char *name, const char *address, struct rpc_client **out, struct tg_error *err)
{
    char *endpoint = pb_string(address);
    const struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    return rpc_client_open(out, name, &peer, err);
}
