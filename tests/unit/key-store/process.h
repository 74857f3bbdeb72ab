/* tg-key-store itself, with real RPC and the real database; the audit service and the RADIUS bridge are the
 * test's. */
#ifndef TG_TESTS_KEY_STORE_PROCESS_H
#define TG_TESTS_KEY_STORE_PROCESS_H

#include "rig.h"

#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { OUTPUT_MAX = 16384 };

struct process {
    pid_t pid;
    int out; /* its stdout and stderr */
};

static inline void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* `keks` as it stands in the file, a list. */
static inline void write_config_keks(const struct rig *r, const char *centre, const char *keks)
{
    char path[128];
    char text[4096];
    const char *dir = r->scratch.dir;
    snprintf(path, sizeof path, "%s/key-store.yaml", dir);
    snprintf(text, sizeof text,
             "listeners:\n"
             "  - {address: \"ipc://%s/resolver\", role: resolver}\n"
             "  - {address: \"ipc://%s/charger\", role: charger}\n"
             "  - {address: \"ipc://%s/operator\", role: operator}\n"
             "database: %s\nkeks: %s\nticket_key_file: %s\ncentre_id: %s\n"
             "radius_bridge: {endpoints: [\"ipc://%s/bridge\"]}\n"
             "audit: {endpoints: [\"ipc://%s/audit\"]}\n"
             "locked_memory: 1MiB\n",
             dir, dir, dir, r->scratch.database, keks, r->scratch.ticket_key, centre, dir, dir);
    write_text(path, text);
}

static inline void write_config(const struct rig *r, const char *centre)
{
    char keks[160];
    snprintf(keks, sizeof keks, "[{id: 1, file: %s}]", r->scratch.kek);
    write_config_keks(r, centre, keks);
}

/* Dies with the test, however that ends. */
static inline struct process start(const struct rig *r)
{
    struct process p = {0};
    char self[PATH_MAX] = "";
    char program[PATH_MAX + 16];
    char config[128];
    char option[] = "--config";
    char *argv[] = {program, option, config, NULL};
    int pipe_fds[2];
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(program, sizeof program, "%s/tg-key-store", dirname(self));
    snprintf(config, sizeof config, "%s/key-store.yaml", r->scratch.dir);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t parent = getpid();
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && dup2(pipe_fds[1], 1) == 1 && dup2(pipe_fds[1], 2) == 2)
            execv(program, argv);
        _exit(127);
    }
    close(pipe_fds[1]);
    p.out = pipe_fds[0];
    return p;
}

/* Reads until `word` has come, or the end. What was read is in `out`. */
static inline bool wait_output(const struct process *p, const char *word, char out[OUTPUT_MAX])
{
    size_t len = 0;
    out[0] = '\0';
    for (;;) {
        if (word != NULL && strstr(out, word) != NULL)
            return true;
        ssize_t n = read(p->out, out + len, OUTPUT_MAX - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        out[len] = '\0';
    }
}

static inline struct process start_ready(const struct rig *r)
{
    char out[OUTPUT_MAX];
    struct process p = start(r);
    if (!wait_output(&p, "service.ready", out))
        fail_msg("%s", out);
    return p;
}

static inline int end(struct process *p, int signal_number)
{
    int status = 0;
    if (signal_number != 0)
        kill(p->pid, signal_number);
    waitpid(p->pid, &status, 0);
    close(p->out);
    return status;
}

/* Ends by itself with exit code 1 and says the words. */
static inline void does_not_start(const struct rig *r, const char *file, const char *why)
{
    char out[OUTPUT_MAX];
    struct process p = start(r);
    bool ready = wait_output(&p, "service.ready", out);
    int status = end(&p, ready ? SIGKILL : 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || strstr(out, file) == NULL ||
        strstr(out, why) == NULL)
        fail_msg("status %d: %s", status, out);
}

/* Only the scripted peers run in this process. */
static inline int peers_open(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    *state = r;
    scratch_open(&r->scratch);
    pthread_mutex_init(&r->audit.lock, NULL);
    audit_up(r);
    bridge_up(r);
    write_config(r, "CENTRE01");
    r->resolver = rig_client(r, "resolver");
    r->charger = rig_client(r, "charger");
    r->admin = rig_client(r, "operator");
    return 0;
}

static inline int peers_close(void **state)
{
    struct rig *r = *state;
    rpc_client_close(r->resolver);
    rpc_client_close(r->charger);
    rpc_client_close(r->admin);
    rpc_server_close(r->audit.server);
    rpc_server_close(r->bridge.server);
    pthread_mutex_destroy(&r->audit.lock);
    scratch_close(&r->scratch);
    free(r);
    return 0;
}

/* Until it has found its peers, and we have found it. */
static inline void wait_serving(struct rig *r)
{
    Tg__ShieldListRequest list = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__ShieldAddRequest add = TG__SHIELD_ADD_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    EVENTUALLY(call_id(r->admin, "ShieldList", &list.base, NULL, 500, &response, &err) == TG_OK);
    rpc_free_response(response);
    response = NULL;
    add.shield_id = pb_string("probe"); /* a change: needs the audit service */
    EVENTUALLY(call_id(r->admin, "ShieldAdd", &add.base, NULL, 500, &response, &err) == TG_OK ||
               err.code == TG_ALREADY_EXISTS);
    rpc_free_response(response);
    EVENTUALLY(rpc_client_ready(r->resolver) && rpc_client_ready(r->charger));
}

#endif
