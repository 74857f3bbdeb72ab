/* The main loop that every service shares: acquire, drop, lock down, announce ready, serve, drain, wipe
 * (STYLE.md 4).
 *
 * A service is a table: its name, its configuration rows, its method rows, and three functions. service_main
 * does the rest: arguments (--config FILE, --check-config, --config-help, --version, --help), log, locked
 * heap, signals, the RPC listeners, the Health service on each of them, privileges, seccomp, and the order of
 * the steps. Exit codes: 0 clean end; 64 bad arguments; 78 bad configuration (sysexits.h); 1 could not start;
 * 70 broken invariant. */
#ifndef TG_COMMON_SERVICE_SERVICE_H
#define TG_COMMON_SERVICE_SERVICE_H

#include <stdbool.h>

#include "common/config.h"
#include "common/error.h"
#include "common/metrics/metrics.h"
#include "common/rpc/rpc.h"

/* First member of every service's configuration struct; its rows are service_config_rows. */
struct service_config {
    struct config_list listeners; /* struct rpc_listener */
    int log_level;                /* enum log_level */
    int64_t locked_memory;        /* bytes for secrets */
    int64_t drain_timeout;        /* ms */
    int64_t calls_in_flight;
    char *user;     /* NULL: stay who we are; needs root to change */
    char *pid_file; /* NULL: none */
    char *http;     /* NULL: none; host:port of the listener for monitoring */
};
extern const struct config_row service_config_rows[]; /* ended by key NULL; prepended to the service's own */

struct service {
    const char *name;              /* "gateway": log, health, `tg-gateway` */
    const char *summary;           /* one line for --help */
    const char *example;           /* an example for --help */
    const struct config_row *rows; /* the service's own rows; ended by key NULL */
    size_t config_size;            /* sizeof its struct, whose first member is struct service_config */
    const struct rpc_method *methods;

    /* Acquire: open files, databases, sockets, peers. Still with the privileges the process was started with.
     * *state is the context of every call. Fails with a text that says what to do.
     * `config` is borrowed until close. */
    enum tg_code (*open)(const void *config, void **state, struct tg_error *err);
    /* Serve: start threads. Called after privileges are dropped and the process is locked down; returns at
     * once. */
    enum tg_code (*start)(void *state, struct tg_error *err);
    /* SIGHUP, with the configuration read anew and found good: borrowed for this call only. Calls go on
     * meanwhile. May be NULL. */
    void (*reload)(void *state, const void *config);
    /* Why this service cannot serve now (a dependency is missing), or NULL when it can. Static or state-owned
     * string. Called from any thread, often: it must be quick. May be NULL. */
    const char *(*not_serving)(void *state);
    /* Writes the service's own metrics. On another thread, as often as somebody asks: it must be quick. May
     * be NULL. */
    void (*metrics)(void *state, struct metrics *out);
    /* SIGTERM: take nothing new, finish within timeout_ms. RPC listeners are drained after this. May be NULL.
     */
    void (*drain)(void *state, unsigned timeout_ms);
    /* Close everything and wipe. The last call. */
    void (*close)(void *state);
};

/* Runs the service to its end; returns the exit code for main(). */
int service_main(const struct service *service, int argc, char **argv);

#endif
