/* Child processes of a test: started, watched and ended by their own pid only, never waited for blindly. Each
 * ends with the test at the latest (PR_SET_PDEATHSIG). Failures of the machinery fail the test, with a text.
 */
#ifndef TG_TESTS_INTEGRATION_PROCESS_H
#define TG_TESTS_INTEGRATION_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PROCESS_ARGUMENTS_MAX = 32, PROCESS_PATH_MAX = 256 };

struct process {
    pid_t pid;                  /* 0: not running */
    int pid_fd;                 /* becomes readable when it has ended */
    char name[64];              /* for messages */
    char out[PROCESS_PATH_MAX]; /* where its stdout and stderr go, appended */
    char err[PROCESS_PATH_MAX];
    off_t out_from; /* how far `out` was read by process_await */
};

struct process_options {
    const char *input; /* file for stdin; NULL: /dev/null */
    int terminal;      /* becomes its controlling terminal (/dev/tty); 0: none */
};

/* Starts argv (ended by NULL; argv[0] is a path) with stdout appended to `out` and stderr to `err` (may be
 * the same). */
void process_start(struct process *process, const char *name, const char *out, const char *err,
                   const struct process_options *options, const char *const *argv);

bool process_running(const struct process *process);

/* Waits until its output, from where the last await stopped, holds `needle`. False: it ended, or the time is
 * over. */
bool process_await(struct process *process, const char *needle, int timeout_ms);

/* Waits until somebody listens on that port of loopback; fails the test when the process ends before, or the
 * time is over. */
void process_await_port(struct process *process, int port, int timeout_ms);

/* Waits for its end. The exit code, or 128 + the signal that killed it; -1 when the time is over. */
int process_wait(struct process *process, int timeout_ms);

/* Bounds the size of files that it writes from now on (RLIMIT_FSIZE): what a full disk looks like to it. 0:
 * no bound. */
void process_limit_files(const struct process *process, size_t bytes);

/* Sends a signal. */
void process_signal(const struct process *process, int signal);

/* SIGTERM, wait, and SIGKILL if that did not help (the test then fails). As process_wait. */
int process_stop(struct process *process, int timeout_ms);
/* SIGKILL and wait; nothing when it is not running. */
void process_kill(struct process *process);

/* A whole file as a string for free(); "" when it is not there. */
char *file_text(const char *path);
bool file_contains(const char *path, const char *needle);

#endif
