/* tg-load: N threads, each with a shield of its own, log in back to back. */
#ifndef TG_TESTS_LOAD_LOAD_H
#define TG_TESTS_LOAD_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "client/address.h"
#include "client/login/login.h"

enum load_limits {
    LOAD_THREADS_MAX = 256,
    LOAD_LOGINS_MAX = 1000000,
    LOAD_SECONDS_MAX = 3600,
    LOAD_SERVICES_MAX = 16,
    LOAD_REASONS_MAX = 16,
    LOAD_REASON_LEN = 160,
    LOAD_NAME_LEN = 32
};

struct load_options { /* texts are borrowed from argv */
    bool help, version, json;
    struct host_port gateway;
    const char *ca, *users_file, *user, *shields, *pin_file, *password_file;
    uint32_t concurrency, seconds, logins;
    const struct suite *suites[LOGIN_SUITES_MAX];
    size_t suite_count;
    const char *pids;
};

/* One user with one shield, for one thread. */
struct load_account {
    char user[NAME_TEXT_MAX + 1];
    char shield[512]; /* path */
    char password_file[512];
};

enum tg_code load_options_parse(int argc, char **argv, struct load_options *out,
                                struct tg_error *err) TG_MUST_CHECK;
void load_help(void);
/* As many accounts as threads are wanted: from --users-file, or all shields of --shields for --user. */
enum tg_code load_accounts(const struct load_options *options, struct load_account *out,
                           struct tg_error *err) TG_MUST_CHECK;

/* ---- what it takes: CPU time of other processes ---- */

struct load_service {
    char name[LOAD_NAME_LEN];
    pid_t pid;
    double before_ms, after_ms;
};
struct load_services {
    struct load_service at[LOAD_SERVICES_MAX];
    size_t count;
    double own_before_ms, own_after_ms;
};
/* "gateway=123,audit=124"; NULL: none. */
enum tg_code load_services_parse(const char *text, struct load_services *out,
                                 struct tg_error *err) TG_MUST_CHECK;
enum tg_code load_services_before(struct load_services *services, struct tg_error *err) TG_MUST_CHECK;
enum tg_code load_services_after(struct load_services *services, struct tg_error *err) TG_MUST_CHECK;
/* FreeRADIUS is not ours: shown, but not in the sum. */
bool load_service_is_ours(const struct load_service *service);

/* ---- what came of it ---- */

struct load_results {
    pthread_mutex_t lock;
    uint32_t *latencies_us; /* of the logins that worked */
    size_t ok, failed, capacity;
    struct {
        char text[LOAD_REASON_LEN];
        size_t count;
    } reasons[LOAD_REASONS_MAX];
    size_t reason_count;
    double seconds;
};
enum tg_code load_results_init(struct load_results *results, size_t capacity,
                               struct tg_error *err) TG_MUST_CHECK;
void load_results_fini(struct load_results *results);
void load_results_add(struct load_results *results, uint32_t latency_us);
void load_results_add_failure(struct load_results *results, enum client_exit how, const struct tg_error *err);
void load_report(const struct load_options *options, struct load_results *results,
                 const struct load_services *services);

/* ---- the threads ---- */

/* Opens all shields first (that is slow by intent), then starts all threads together and waits for them. */
enum tg_code load_run(const struct load_options *options, struct load_results *results,
                      struct load_services *services, struct tg_error *err) TG_MUST_CHECK;

#endif
