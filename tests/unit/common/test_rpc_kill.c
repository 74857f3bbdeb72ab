/* A server that is killed under load and started again, over and over: its client must find back to it each
 * time, without being started anew. The server is this very program with other arguments. */
#include "rpc_tls_fixture.h"

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CALLERS = 16, ROUNDS = 12, CALLS_PER_ROUND = 100, GIVE_UP_S = 60 };

extern char **environ;
static const char *program;
static unsigned rounds = ROUNDS;

/* ---- the server ---- */

static int serve(const char *address, const char *dir)
{
    struct rpc_server *server = NULL;
    struct tg_error err = {0};
    struct rpc_tls tls = tls_files(dir, "server.crt", "server.key", "client-ca.crt");
    struct rpc_listener listener = {.address = pb_string(address), .role = 0, .tls = tls};
    struct script script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (rpc_server_open(&server, script_methods, &script, 8, &err) != TG_OK ||
        rpc_server_listen(server, &listener, &err) != TG_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (;;)
        pause();
}

static pid_t start_server(const struct rig *rig)
{
    union {
        const char *in;
        char *out;
    } name = {.in = program};
    char serve_argument[] = "serve", *address = pb_string(rig->address), *dir = pb_string(rig->dir);
    char *arguments[] = {name.out, serve_argument, address, dir, NULL};
    pid_t pid = 0;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    return pid;
}

/* ---- the callers ---- */

struct load {
    struct rig *rig;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ok, failed, running;
    bool stop;
};

static void call_again(struct load *load);

static void on_answer(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct load *load = arg;
    (void)text;
    (void)response;
    pthread_mutex_lock(&load->lock);
    load->ok += status == TG_OK;
    load->failed += status != TG_OK;
    bool stop = load->stop;
    if (stop)
        load->running--;
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->lock);
    if (!stop)
        call_again(load);
}

static void call_again(struct load *load)
{
    Tg__HealthCheckRequest message;
    struct rpc_request request = script_request(&message, "echo load", 2000);
    rpc_start(load->rig->client, &request, on_answer, load);
}

static void start_load(struct load *load)
{
    load->running = CALLERS;
    for (unsigned i = 0; i < CALLERS; i++)
        call_again(load);
}

static void stop_load(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->stop = true;
    while (load->running > 0)
        pthread_cond_wait(&load->changed, &load->lock);
    pthread_mutex_unlock(&load->lock);
}

static void await_calls(struct load *load, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GIVE_UP_S;
    pthread_mutex_lock(&load->lock);
    unsigned goal = load->ok + count;
    int rc = 0;
    while (load->ok < goal && rc == 0)
        rc = pthread_cond_timedwait(&load->changed, &load->lock, &until);
    pthread_mutex_unlock(&load->lock);
    if (rc != 0)
        fail_msg("the client did not find back to its server: %u calls went well, %u failed", load->ok,
                 load->failed);
}

static void kill_and_restart(struct rig *rig)
{
    struct load load = {.rig = rig, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    rig_connect(rig);
    start_load(&load);
    for (unsigned i = 0; i < rounds; i++) {
        pid_t server = start_server(rig);
        await_calls(&load, CALLS_PER_ROUND);
        kill(server, SIGKILL);
        assert_int_equal(waitpid(server, NULL, 0), server);
    }
    stop_load(&load);
    rpc_client_close(rig->client);
    rig->client = NULL;
    print_message("%u calls answered, %u failed, %u kills\n", load.ok, load.failed, rounds);
}

static void over_ipc(void **state)
{
    (void)state;
    struct rig *rig = rig_new("ipc");
    kill_and_restart(rig);
    rig_free(rig);
}

static void over_tls(void **state)
{
    (void)state;
    void *rig = rig_new_tls();
    kill_and_restart(rig);
    rig_teardown_tls(&rig);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3]);
    if (argc == 2)
        rounds = (unsigned)atoi(argv[1]);
    program = argv[0];
    const struct CMUnitTest tests[] = {cmocka_unit_test(over_ipc), cmocka_unit_test(over_tls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
