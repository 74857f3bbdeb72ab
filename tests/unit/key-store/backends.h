/* The same tests over every database: SQLite in a file, SQLite in memory, PostgreSQL. */
#ifndef TG_TESTS_KEY_STORE_BACKENDS_H
#define TG_TESTS_KEY_STORE_BACKENDS_H

#include "scratch.h"

#include "tests/postgres/cluster.h"

enum backend { ON_SQLITE, ON_MEMORY, ON_POSTGRES, BACKENDS };

static struct cluster backends_cluster; /* one for all tests of a program */

/* An empty PostgreSQL database. What it writes need not survive this machine. */
static inline void backends_empty_postgres(void)
{
    static const char *const options[] = {"-c", "fsync=off", "-c", "max_connections=20", NULL};
    if (backends_cluster.pid == 0) {
        cluster_make(&backends_cluster);
        cluster_start(&backends_cluster, options);
    }
    cluster_run(&backends_cluster,
                "SET client_min_messages = error; DROP SCHEMA IF EXISTS ticketgate CASCADE");
}

/* `first`: its database is empty. */
static inline struct store *backends_open(enum backend backend, const struct scratch *s, bool first)
{
    struct tg_error err;
    struct store *store = NULL;
    if (backend == ON_SQLITE) {
        must(store_sqlite_open(s->database, &store, &err), &err);
    } else if (backend == ON_MEMORY) {
        must(store_memory_open(&store, &err), &err);
    } else {
        if (first)
            backends_empty_postgres();
        const struct store_postgres_config config = {.conninfo = backends_cluster.conninfo, .wait_ms = 60000};
        must(store_postgres_open(&config, &store, &err), &err);
    }
    return store;
}

static inline int backends_end(void **state)
{
    (void)state;
    if (backends_cluster.dir[0] != '\0')
        cluster_remove(&backends_cluster);
    return 0;
}

enum { ON_ALL = 0, ON_FILE = 1 << ON_SQLITE, ON_DISK = ON_FILE | 1 << ON_POSTGRES };

struct backend_test {
    struct CMUnitTest test;
    unsigned on; /* 1 << enum backend; ON_ALL */
};

/* Each test once over each database; `state` at its setup is a pointer to its enum backend. */
static inline int backends_run(const struct backend_test *tests, size_t count)
{
    static enum backend which[BACKENDS] = {ON_SQLITE, ON_MEMORY, ON_POSTGRES};
    static const char *const names[BACKENDS] = {"sqlite", "memory", "postgres"};
    bool postgres = cluster_available();
    struct CMUnitTest *all = calloc(count * BACKENDS, sizeof *all);
    size_t all_count = 0;
    assert_non_null(all);
    for (size_t b = 0; b < (postgres ? BACKENDS : ON_POSTGRES); b++) {
        for (size_t i = 0; i < count; i++) {
            char *name = NULL;
            if (tests[i].on != ON_ALL && (tests[i].on & 1U << b) == 0)
                continue;
            assert_true(asprintf(&name, "%s.%s", tests[i].test.name, names[b]) > 0);
            all[all_count] = tests[i].test;
            all[all_count].name = name;
            all[all_count++].initial_state = &which[b];
        }
    }
    int failed = 77; /* skipped */
    if (all_count > 0)
        failed = _cmocka_run_group_tests("backends", all, all_count, NULL, backends_end);
    for (size_t i = 0; i < all_count; i++) {
        union {
            const char *in;
            char *out;
        } name = {.in = all[i].name};
        free(name.out);
    }
    free(all);
    return failed;
}

#endif
