#include "tests/postgres/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/trace.h"

enum { ARGUMENTS_MAX = 40, START_MS = 120000, NOT_HERE = 77 };

static const char script[] = TG_SOURCE_DIR "/tests/postgres.sh";

static _Noreturn void become(const char *log, const char *const *argv, pid_t parent)
{
    union {
        const char *const *in;
        char *const *out;
    } cast = {.in = argv};
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(125);
    execv("/bin/sh", cast.out);
    _exit(125);
}

static pid_t spawn(const char *log, const char *const *argv)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(log, argv, parent);
    assert_true(pid > 0);
    return pid;
}

static void log_path(const struct cluster *c, char out[96])
{
    snprintf(out, 96, "%s/log", c->dir);
}

static void show_log(const struct cluster *c)
{
    char command[160];
    snprintf(command, sizeof command, "tail -n 20 %s/log >&2", c->dir);
    if (system(command) != 0)
        fprintf(stderr, "no log in %s\n", c->dir);
}

/* Runs the script to its end. */
static int run_script(const struct cluster *c, const char *const *argv)
{
    char log[96];
    int status = 0;
    log_path(c, log);
    pid_t pid = spawn(log, argv);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void must_run(const struct cluster *c, const char *const *argv)
{
    int code = run_script(c, argv);
    if (code != 0)
        show_log(c);
    assert_int_equal(code, 0);
}

bool cluster_available(void)
{
    return system("sh " TG_SOURCE_DIR "/tests/postgres.sh check /") == 0;
}

static void make_dir(struct cluster *c)
{
    *c = (struct cluster){.dir = "/tmp/tg-postgres-XXXXXX"};
    assert_non_null(mkdtemp(c->dir));
    snprintf(c->conninfo, sizeof c->conninfo, "host=%s user=ticketgate dbname=postgres", c->dir);
}

void cluster_make(struct cluster *c)
{
    make_dir(c);
    must_run(c, (const char *[]){"sh", script, "init", c->dir, NULL});
}

void cluster_copy(struct cluster *c, const struct cluster *primary)
{
    make_dir(c);
    must_run(c, (const char *[]){"sh", script, "copy", c->dir, primary->conninfo, NULL});
}

void cluster_start(struct cluster *c, const char *const *options)
{
    const char *argv[ARGUMENTS_MAX] = {"sh", script, "run", c->dir};
    char log[96];
    size_t count = 4;
    uint64_t end = clock_now_ms() + START_MS;
    while (*options != NULL) {
        assert_true(count < ARGUMENTS_MAX - 1);
        argv[count++] = *options++;
    }
    log_path(c, log);
    c->pid = spawn(log, argv);
    while (PQping(c->conninfo) != PQPING_OK) {
        int status = 0;
        bool ended = waitpid(c->pid, &status, WNOHANG) == c->pid;
        if (ended || clock_now_ms() > end) {
            show_log(c);
            fail_msg("%s does not serve", c->dir);
        }
        usleep(10000);
    }
}

void cluster_promote(struct cluster *c)
{
    must_run(c, (const char *[]){"sh", script, "promote", c->dir, NULL});
}

void cluster_kill(struct cluster *c, int signal)
{
    int status = 0;
    if (c->pid == 0)
        return;
    kill(c->pid, signal);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    c->pid = 0;
}

void cluster_remove(struct cluster *c)
{
    char command[96];
    cluster_kill(c, SIGQUIT);
    snprintf(command, sizeof command, "rm -rf %s", c->dir);
    assert_int_equal(system(command), 0);
}

long cluster_number(const struct cluster *c, const char *sql)
{
    PGconn *conn = PQconnectdb(c->conninfo);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    long number = PQntuples(result) > 0 ? strtol(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    PQfinish(conn);
    return number;
}

void cluster_run(const struct cluster *c, const char *sql)
{
    (void)cluster_number(c, sql);
}
