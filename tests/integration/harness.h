/* A whole TicketGate for a test: setup.sh makes an instance in a directory of its own under /tmp, and its
 * parts run as processes. The directory is removed at the end unless something failed; then its path is
 * printed. Tests with instances may run side by side. */
#ifndef TG_TESTS_INTEGRATION_HARNESS_H
#define TG_TESTS_INTEGRATION_HARNESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/integration/process.h"

/* In the order in which they are started. */
enum part {
    PART_RADIUS, /* FreeRADIUS */
    PART_AUDIT,
    PART_BRIDGE,
    PART_KEY_STORE,
    PART_RESOLVER,
    PART_GATEWAY,
    PART_WEB,  /* a web server in the intranet */
    PART_SSHD, /* an sshd in the intranet */
    PARTS
};

struct instance {
    char dir[64];
    int gateway_port;
    int radius_port;
    int web_port;
    int ssh_port;
    int local_ports[4]; /* free ones, for what a client forwards */
    char gateway[32];   /* "localhost:PORT" */
    struct process parts[PARTS];
    unsigned commands; /* counts, to name their output files */
    bool failed;
};

enum { LOGIN_TIMEOUT_MS = 60000, READY_TIMEOUT_MS = 60000 };

/* ---- instance.c ---- */

/* Setup only: nothing runs yet, so that the configuration can be changed first. transport: "ipc" or "tls". */
struct instance *instance_new(const char *transport);
/* Starts the six parts that a login needs, and registers the gateway's QKUD between key store and gateway. */
void instance_start(struct instance *instance);
/* Stops all that runs; each of our services must end with 0 (so must its sanitizers). NULL is fine. */
void instance_end(struct instance *instance);

/* "DIR/what" in a buffer of the instance's own, one of eight in turn. */
const char *instance_path(const struct instance *instance, const char *what, ...)
    __attribute__((format(printf, 2, 3)));
/* Replaces `key: …` at the top level of config/<name>.yaml, or appends it; value is YAML in flow style. */
void instance_set(const struct instance *instance, const char *name, const char *key, const char *value);
/* Appends a line to a file of the instance ("freeradius/users"). */
void instance_append(const struct instance *instance, const char *file, const char *text);

void part_start(struct instance *instance, enum part part);
void part_start_with(struct instance *instance, enum part part, const struct process_options *options);
void part_stop(struct instance *instance, enum part part);
void part_kill(struct instance *instance, enum part part);
const char *part_name(enum part part);
/* Waits until tgctl health says that a service serves (or does not). */
void part_await_health(struct instance *instance, enum part part, bool serving);

/* ---- command.c ---- */

/* What a command left behind. Freed by result_free. */
struct result {
    int code; /* as process_wait */
    char *out;
    char *err;
};
void result_free(struct result *result);
#define RESULT __attribute__((cleanup(result_free))) struct result

/* Runs a program to its end; fails the test when that takes longer than timeout_ms. argv ends with NULL. */
struct result run(struct instance *instance, int timeout_ms, const char *const *argv);
#define RUN(instance, ...) run(instance, LOGIN_TIMEOUT_MS, (const char *const[]){__VA_ARGS__, NULL})
struct result run_with(struct instance *instance, int timeout_ms, const struct process_options *options,
                       const char *const *argv);
/* Starts one in the background (its output goes to DIR/log/cmd-N.{out,err}), and waits for its end. */
void run_start(struct instance *instance, struct process *process, const struct process_options *options,
               const char *const *argv);
struct result run_end(struct instance *instance, struct process *process, int timeout_ms);

/* "…/bin/ticketgate" and so on, of this build; valid until sixteen other programs were asked for. */
const char *program(const char *name);
#define TGCTL(instance, ...)                                                                                 \
    RUN(instance, program("tgctl"), "--config", instance_path(instance, "config/tgctl.yaml"), __VA_ARGS__)

/* Runs the charger for a registered shield, with the user's PIN and password from the instance's secrets. */
struct result charge(struct instance *instance, const char *shield, const char *user, const char *count);
/* Registers a shield (owner NULL: unbound) and fills its file DIR/shields/<id> with `count` keys as `user`,
 * PIN and password from the instance's secrets. */
void shield_fill(struct instance *instance, const char *shield, const char *owner, const char *user,
                 unsigned count);

/* Logs in with `ticketgate connect` as `user` with DIR/shields/<words[0]>, and asks the intranet's web server
 * (which must run) for its page over -W: code 0 and the page in `out` when all of it worked. The other words
 * are further arguments, later ones winning; ended by NULL. */
struct result login_with(struct instance *instance, const char *user, const char *const *words);
#define LOGIN(instance, user, ...) login_with(instance, user, (const char *const[]){__VA_ARGS__, NULL})
/* Its arguments in argv[PROCESS_ARGUMENTS_MAX], without -W; returns how many. */
size_t login_arguments(const struct instance *instance, const char *user, const char *shield,
                       const char **argv);
/* Fails the test, with what the client said, unless it got in (was kept out, with that exit code and a
 * reason). */
void assert_logged_in(struct instance *instance, const struct result *result);
void assert_refused(struct instance *instance, const struct result *result, int code);
/* Writes a line (with its line feed) as the instance's secrets/<name>; returns the path. */
const char *secret_line(const struct instance *instance, const char *name, const char *line);
/* What the page holds. */
#define INTRANET_PAGE "This page stands in the intranet."

/* The audit log's lines that the filter arguments of `tgctl audit list` leave, as a JSON array. */
json_t *audit_lines(struct instance *instance, const char *const *filter);
#define AUDIT(instance, ...) audit_lines(instance, (const char *const[]){__VA_ARGS__, NULL})
/* The text at a path of such a line, "metadata.event_code"; NULL: there is none. */
const char *audit_text(const json_t *line, const char *path);
/* How many of an event the log holds. */
size_t audit_count(struct instance *instance, const char *event);

#endif
