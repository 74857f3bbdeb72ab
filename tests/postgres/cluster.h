/* A real PostgreSQL of the test's own, in a directory of its own, reached through its socket there (and over
 * loopback when the options say so). It ends with the test at the latest. Failures of the machinery fail the
 * test. */
#ifndef TG_TESTS_POSTGRES_CLUSTER_H
#define TG_TESTS_POSTGRES_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

struct cluster {
    char dir[64];       /* holds data/, the socket and log */
    char conninfo[128]; /* as superuser, through the socket */
    pid_t pid;          /* of the postmaster; 0: not running */
};

/* Are Debian's server programs here? */
bool cluster_available(void);
/* Makes an empty one. */
void cluster_make(struct cluster *cluster);
/* Makes a standby of a server that is served. */
void cluster_copy(struct cluster *cluster, const struct cluster *primary);
/* Serves it; `options` is ended by NULL and holds pairs: "-c", "name=value". Waits until it takes
 * connections. */
void cluster_start(struct cluster *cluster, const char *const *options);
/* A standby becomes the primary; waits until it is. */
void cluster_promote(struct cluster *cluster);
/* kill -9 of the postmaster, or another signal. Its children notice. Nothing when it does not run. */
void cluster_kill(struct cluster *cluster, int signal);
/* Ends it, if it runs, and removes its files. */
void cluster_remove(struct cluster *cluster);

/* Runs SQL text through a connection of its own. */
void cluster_run(const struct cluster *cluster, const char *sql);
/* The number that a query gives. */
long cluster_number(const struct cluster *cluster, const char *sql);

#endif
