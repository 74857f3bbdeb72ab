#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/file.h"
#include "common/pb.h"
#include "common/protocol/frame.h"
#include "common/trace.h"
#include "tests/load/load.h"

struct run {
    const struct load_options *options;
    struct load_results *results;
    struct login_tls *tls;
    pthread_barrier_t barrier; /* all shields are open */
    atomic_uint started;       /* logins */
    _Atomic uint64_t ends_ms;
};

struct worker {
    struct run *run;
    pthread_t thread;
    const struct load_account *account;
    struct shield *shield;
    struct secret *password;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The session's end: BYE and close_notify fit the socket's empty buffer. */
static void say_bye(const struct login_session *session)
{
    Tg__Bye bye = TG__BYE__INIT;
    uint8_t frame[FRAME_HEADER_LEN + 64];
    size_t len = tg__bye__get_packed_size(&bye);
    frame_encode(&(struct frame_header){.type = FRAME_BYE, .length = (uint32_t)len}, frame);
    tg__bye__pack(&bye, frame + FRAME_HEADER_LEN);
    if (SSL_write(session->ssl, frame, (int)(FRAME_HEADER_LEN + len)) > 0)
        SSL_shutdown(session->ssl);
}

/* False: this worker is done for. */
static bool log_in_once(struct worker *worker)
{
    const struct load_options *options = worker->run->options;
    const struct login_request request = {.tls = worker->run->tls,
                                          .host = options->gateway.host,
                                          .port = options->gateway.port,
                                          .user = worker->account->user,
                                          .password = worker->password,
                                          .shield = worker->shield,
                                          .suites = options->suites,
                                          .suite_count = options->suite_count};
    struct login_session session;
    struct tg_error err = {0};
    uint64_t start = now_us();
    enum client_exit how = login_run(&request, &session, &err);
    if (how == EXIT_OK) {
        load_results_add(worker->run->results, (uint32_t)(now_us() - start));
        say_bye(&session);
    } else {
        load_results_add_failure(worker->run->results, how, &err);
    }
    login_session_close(&session);
    return how != EXIT_SHIELD_EMPTY;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct run *run = worker->run;
    uint32_t limit = run->options->logins > 0 ? run->options->logins : LOAD_LOGINS_MAX;
    pthread_barrier_wait(&run->barrier);
    while (clock_now_ms() < run->ends_ms && atomic_fetch_add(&run->started, 1) < limit && log_in_once(worker))
        ;
    return NULL;
}

static enum tg_code worker_open(struct worker *worker, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *pin = NULL;
    TG_TRY(file_read_line_secret(worker->run->options->pin_file, &pin, err));
    TG_TRY(file_read_line_secret(worker->account->password_file, &worker->password, err));
    return shield_file_open(worker->account->shield, pin, &worker->shield, err);
}

static enum tg_code run_workers(struct run *run, struct worker *workers, struct load_services *services,
                                struct tg_error *err)
{
    uint32_t count = run->options->concurrency;
    for (uint32_t i = 0; i < count; i++)
        TG_TRY(worker_open(&workers[i], err));
    pthread_barrier_init(&run->barrier, NULL, count + 1);
    for (uint32_t i = 0; i < count; i++) /* threads that are missing would hold the others up for ever */
        TG_INVARIANT(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    enum tg_code code = load_services_before(services, err);
    uint64_t start = now_us();
    run->ends_ms = code == TG_OK ? clock_now_ms() + UINT64_C(1000) * run->options->seconds : 0;
    pthread_barrier_wait(&run->barrier);
    for (uint32_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    run->results->seconds = (double)(now_us() - start) / 1e6;
    pthread_barrier_destroy(&run->barrier);
    return code == TG_OK ? load_services_after(services, err) : code;
}

static enum tg_code run_all(struct run *run, struct worker *workers, struct load_account *accounts,
                            struct load_services *services, struct tg_error *err)
{
    TG_ENSURE(workers != NULL && accounts != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    TG_TRY(load_accounts(run->options, accounts, err));
    TG_TRY(login_tls_open(run->options->ca, &run->tls, err));
    for (uint32_t i = 0; i < run->options->concurrency; i++)
        workers[i] = (struct worker){.run = run, .account = &accounts[i]};
    return run_workers(run, workers, services, err);
}

enum tg_code load_run(const struct load_options *options, struct load_results *results,
                      struct load_services *services, struct tg_error *err)
{
    struct run run = {.options = options, .results = results};
    struct worker *workers = calloc(options->concurrency, sizeof *workers);
    struct load_account *accounts = calloc(options->concurrency, sizeof *accounts);
    enum tg_code code = run_all(&run, workers, accounts, services, err);
    for (uint32_t i = 0; workers != NULL && i < options->concurrency; i++) {
        shield_close(workers[i].shield);
        secret_free(workers[i].password);
    }
    login_tls_close(run.tls);
    free(workers);
    free(accounts);
    return code;
}
