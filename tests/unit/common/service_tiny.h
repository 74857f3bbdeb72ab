/* A service small enough for a test: test_service*.c run it in processes of their own (their own program,
 * with
 * "--tiny-service" as first argument), read its log, and call it over ipc.
 *
 * Its method QkudRevoke takes commands: "hold" is answered when the service drains; "go" lets a drain go on.
 */
#ifndef TG_TESTS_SERVICE_TINY_H
#define TG_TESTS_SERVICE_TINY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/pb.h"
#include "common/secret.h"
#include "common/service/service.h"
#include "proto/health.pb-c.h"
#include "proto/key_store.pb-c.h"

struct tiny_config {
    struct service_config common;
    char *fail_at; /* "open", "start", "invariant" */
    char *reason;  /* why not to serve */
    bool drain_waits, drain_answers;
};

struct tiny {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool drain_waits, drain_answers, go;
    char *reason;
    struct rpc_call *held;
    struct secret *secret;
    pthread_t early; /* started before the process is locked down */
    bool sealed;
};

static const struct config_row tiny_rows[] = {
    {.key = "fail_at",
     .type = CONFIG_STRING,
     .offset = offsetof(struct tiny_config, fail_at),
     .fallback = CONFIG_OPTIONAL,
     .help = "Where to fail"},
    {.key = "reason",
     .type = CONFIG_STRING,
     .offset = offsetof(struct tiny_config, reason),
     .fallback = CONFIG_OPTIONAL,
     .help = "Why not to serve"},
    {.key = "drain_waits",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct tiny_config, drain_waits),
     .fallback = "false",
     .help = "Whether draining waits for the command go"},
    {.key = "drain_answers",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct tiny_config, drain_answers),
     .fallback = "true",
     .help = "Whether draining answers what is held, or only closing does"},
    {.key = NULL},
};

static inline void tiny_answer(struct rpc_call *call)
{
    const Tg__QkudRevokeResponse response = TG__QKUD_REVOKE_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

static inline void tiny_command(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__QkudRevokeRequest *request = (const void *)message;
    struct tiny *tiny = rpc_call_context(call);
    bool hold = strcmp(request->qkud_id, "hold") == 0;
    pthread_mutex_lock(&tiny->lock);
    if (hold)
        tiny->held = call;
    tiny->go = tiny->go || !hold;
    pthread_cond_broadcast(&tiny->changed);
    pthread_mutex_unlock(&tiny->lock);
    if (hold)
        LOG(LOG_INFO, NULL, "tiny.held");
    else
        tiny_answer(call);
}

/* What this thread still may do, as a line of the log. Each of these must fail, and must not do harm if not.
 */
static inline void tiny_probe(const char *thread)
{
    struct rlimit core = {1, 1};
    getrlimit(RLIMIT_CORE, &core);
    char *const none[] = {NULL};
    long executes = syscall(SYS_execve, "/nonexistent/program", none, none);
    int execute_errno = errno;
    long enters = syscall(SYS_setns, -1, 0);
    int enter_errno = errno;
    LOG(LOG_INFO, NULL, "tiny.probe", LOG_TEXT("thread", thread),
        LOG_NUMBER("execve", executes == 0 ? 0 : execute_errno),
        LOG_NUMBER("setns", enters == 0 ? 0 : enter_errno),
        LOG_NUMBER("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)),
        LOG_NUMBER("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)),
        LOG_NUMBER("core", (int64_t)core.rlim_max), LOG_NUMBER("uid", geteuid()),
        LOG_NUMBER("gid", getegid()), LOG_NUMBER("groups", getgroups(0, NULL)));
}

static inline void *tiny_early_thread(void *arg)
{
    struct tiny *tiny = arg;
    pthread_mutex_lock(&tiny->lock);
    while (!tiny->sealed)
        pthread_cond_wait(&tiny->changed, &tiny->lock);
    pthread_mutex_unlock(&tiny->lock);
    tiny_probe("early");
    return NULL;
}

static inline bool tiny_fails_at(const struct tiny_config *config, const char *stage)
{
    return config->fail_at != NULL && strcmp(config->fail_at, stage) == 0;
}

static inline enum tg_code tiny_open(const void *config, void **state, struct tg_error *err)
{
    const struct tiny_config *c = config;
    TG_ENSURE(!tiny_fails_at(c, "open"), err, TG_NOT_FOUND, "the disk is gone: put it back");
    struct tiny *tiny = calloc(1, sizeof *tiny);
    TG_INVARIANT(tiny != NULL);
    pthread_mutex_init(&tiny->lock, NULL);
    pthread_cond_init(&tiny->changed, NULL);
    tiny->drain_waits = c->drain_waits;
    tiny->drain_answers = c->drain_answers;
    tiny->reason = tiny_fails_at(c, "start") ? strdup("start") : c->reason == NULL ? NULL : strdup(c->reason);
    tiny->secret = secret_random(32);
    TG_INVARIANT(pthread_create(&tiny->early, NULL, tiny_early_thread, tiny) == 0);
    TG_INVARIANT(!tiny_fails_at(c, "invariant"));
    *state = tiny;
    return TG_OK;
}

static inline enum tg_code tiny_start(void *state, struct tg_error *err)
{
    struct tiny *tiny = state;
    TG_ENSURE(tiny->reason == NULL || strcmp(tiny->reason, "start") != 0, err, TG_UNAVAILABLE,
              "no thread would start");
    tiny_probe("main");
    pthread_mutex_lock(&tiny->lock);
    tiny->sealed = true;
    pthread_cond_broadcast(&tiny->changed);
    pthread_mutex_unlock(&tiny->lock);
    return TG_OK;
}

static inline void tiny_reload(void *state, const void *config)
{
    struct tiny *tiny = state;
    const struct tiny_config *c = config;
    LOG(LOG_DEBUG, NULL, "tiny.reload");
    pthread_mutex_lock(&tiny->lock);
    free(tiny->reason);
    tiny->reason = c->reason == NULL ? NULL : strdup(c->reason);
    pthread_mutex_unlock(&tiny->lock);
}

static inline const char *tiny_not_serving(void *state)
{
    struct tiny *tiny = state;
    pthread_mutex_lock(&tiny->lock);
    const char *reason = tiny->reason; /* the tests do not reload while they ask */
    pthread_mutex_unlock(&tiny->lock);
    return reason;
}

static inline void tiny_answer_held(struct tiny *tiny)
{
    pthread_mutex_lock(&tiny->lock);
    struct rpc_call *held = tiny->held;
    tiny->held = NULL;
    pthread_mutex_unlock(&tiny->lock);
    if (held != NULL)
        tiny_answer(held);
}

static inline void tiny_drain(void *state, unsigned timeout_ms)
{
    struct tiny *tiny = state;
    LOG(LOG_INFO, NULL, "tiny.drain", LOG_NUMBER("timeout_ms", timeout_ms));
    pthread_mutex_lock(&tiny->lock);
    while (tiny->drain_waits && !tiny->go)
        pthread_cond_wait(&tiny->changed, &tiny->lock);
    pthread_mutex_unlock(&tiny->lock);
    if (tiny->drain_answers)
        tiny_answer_held(tiny);
}

static inline void tiny_close(void *state)
{
    struct tiny *tiny = state;
    pthread_mutex_lock(&tiny->lock);
    tiny->sealed = true;
    pthread_cond_broadcast(&tiny->changed);
    pthread_mutex_unlock(&tiny->lock);
    pthread_join(tiny->early, NULL);
    tiny_answer_held(tiny);
    LOG(LOG_INFO, NULL, "tiny.closed");
    secret_free(tiny->secret);
    free(tiny->reason);
    pthread_mutex_destroy(&tiny->lock);
    pthread_cond_destroy(&tiny->changed);
    free(tiny);
}

static const struct rpc_method tiny_methods[] = {
    {&tg__key_store__descriptor, "QkudRevoke", RPC_ROLE_SERVICE, tiny_command},
    {NULL, NULL, 0, NULL},
};

static void tiny_metrics(void *state, struct metrics *out)
{
    (void)state;
    metrics_family(out, METRIC_GAUGE, "tiny_moods", "What it feels.");
    metrics_value(out, 7, "mood", "so \"so\"\\\n", "of", "tiny", NULL);
    metrics_value(out, UINT64_MAX, "mood", "good", NULL);
}

static const struct service tiny_service = {
    .name = "tiny",
    .summary = "Does nothing, in good order.",
    .example = "tg-tiny --config tiny.yaml",
    .rows = tiny_rows,
    .config_size = sizeof(struct tiny_config),
    .methods = tiny_methods,
    .open = tiny_open,
    .start = tiny_start,
    .reload = tiny_reload,
    .not_serving = tiny_not_serving,
    .metrics = tiny_metrics,
    .drain = tiny_drain,
    .close = tiny_close,
};

/* First in main(): runs the service instead of the tests when asked to. */
static inline void tiny_main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--tiny-service") != 0)
        return;
    argv[1] = argv[0];
    exit(service_main(&tiny_service, argc - 1, argv + 1));
}

/* ---- the test's side ---- */

struct child {
    char directory[64], config[96], address[96], pid_file[96];
    pid_t pid;
    uid_t uid;       /* whom to run it as; 0: ourselves */
    FILE *out, *err; /* what the child writes */
    char line[4096]; /* the last one read */
    struct rpc_client *client;
};

/* Writes the configuration: one listener over ipc, and `more`. */
static inline void child_configure(struct child *child, const char *more)
{
    FILE *file = fopen(child->config, "we");
    assert_non_null(file);
    fprintf(file, "listeners: [{address: \"%s\", role: service}]\n%s", child->address, more);
    assert_int_equal(fclose(file), 0);
}

static inline int child_setup(void **state)
{
    struct child *child = calloc(1, sizeof *child);
    assert_non_null(child);
    (void)snprintf(child->directory, sizeof child->directory, "/tmp/tg-test-service-XXXXXX");
    assert_non_null(mkdtemp(child->directory));
    (void)snprintf(child->config, sizeof child->config, "%s/tiny.yaml", child->directory);
    (void)snprintf(child->address, sizeof child->address, "ipc://%s/socket", child->directory);
    (void)snprintf(child->pid_file, sizeof child->pid_file, "%s/tiny.pid", child->directory);
    child_configure(child, "");
    *state = child;
    return 0;
}

/* Starts the service with these arguments (ended by NULL, at most 6). */
static inline void child_start(struct child *child, ...)
{
    char *argv[10] = {pb_string("tg-tiny"), pb_string("--tiny-service")};
    va_list args;
    va_start(args, child);
    for (int i = 2; i < 9 && (argv[i] = va_arg(args, char *)) != NULL;)
        i++;
    va_end(args);
    int out[2];
    int err[2];
    assert_true(pipe(out) == 0 && pipe(err) == 0);
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves no service behind */
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        if (child->uid != 0 && (setgid(child->uid) != 0 || setuid(child->uid) != 0))
            _exit(126);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    child->out = fdopen(out[0], "re");
    child->err = fdopen(err[0], "re");
    assert_true(child->out != NULL && child->err != NULL);
}

/* Reads the log up to the line of this event; false: it ended before. */
static inline bool child_logs(struct child *child, const char *event)
{
    char wanted[96];
    (void)snprintf(wanted, sizeof wanted, "\"event\":\"%s\"", event);
    while (fgets(child->line, sizeof child->line, child->out) != NULL)
        if (strstr(child->line, wanted) != NULL)
            return true;
    return false;
}

static inline void child_run(struct child *child)
{
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.ready"));
}

/* Waits for its end; answers the exit code, or minus the signal. */
static inline int child_end(struct child *child)
{
    int status = 0;
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    child->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int child_teardown(void **state)
{
    struct child *child = *state;
    rpc_client_close(child->client);
    if (child->pid > 0) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    if (child->out != NULL)
        fclose(child->out);
    if (child->err != NULL)
        fclose(child->err);
    (void)unlink(child->config);
    (void)unlink(child->pid_file);
    (void)unlink(child->address + strlen("ipc://"));
    int rc = rmdir(child->directory); /* fails when something was left behind */
    free(child);
    return rc;
}

/* All that is left in one of its outputs. */
static inline const char *child_rest(struct child *child, FILE *from)
{
    size_t len = fread(child->line, 1, sizeof child->line - 1, from);
    child->line[len] = '\0';
    return child->line;
}

static inline void child_dial(struct child *child)
{
    char *endpoints[] = {child->address};
    struct rpc_peer peer = {.endpoints = {.items = endpoints, .count = 1}};
    struct tg_error err = {0};
    if (rpc_client_open(&child->client, "tiny", &peer, &err) != TG_OK)
        fail_msg("%s", err.text);
}

/* Asks for its health; answers the status, and the reason through *reason (free it). */
static inline int child_health(struct child *child, const char *service, char **reason)
{
    Tg__HealthCheckRequest message = TG__HEALTH_CHECK_REQUEST__INIT;
    message.service = pb_string(service);
    const struct rpc_request request = {
        .service = &tg__health__descriptor, .method = "Check", .message = &message.base, .budget_ms = 20000};
    ProtobufCMessage *answer = NULL;
    struct tg_error err = {0};
    if (child->client == NULL)
        child_dial(child);
    if (rpc_call_wait(child->client, &request, &answer, &err) != TG_OK)
        fail_msg("%s", err.text);
    const Tg__HealthCheckResponse *response = (const void *)answer;
    int status = (int)response->status;
    assert_string_equal(response->version, TG_VERSION);
    *reason = strdup(response->reason);
    rpc_free_response(answer);
    return status;
}

static inline void assert_health(struct child *child, const char *service, int status, const char *reason)
{
    char *given = NULL;
    assert_int_equal(child_health(child, service, &given), status);
    assert_string_equal(given, reason);
    free(given);
}

#endif
