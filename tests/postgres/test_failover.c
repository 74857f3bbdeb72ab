/* Two key stores and two resolvers on a primary and its synchronous standby. Under load the primary is killed
 * and the standby promoted, and then a key store is killed too: no key is spent twice, and no spend that was
 * acknowledged is lost. */
#include "tests/postgres/pair.h"

#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "proto/ticket_resolver.pb-c.h"

enum {
    TICKETS = 500,
    RIVALS = 2,            /* for each ticket, under different request ids, through different resolvers */
    CALLERS = 16,          /* at once; an even number */
    CALL_MS = 10000,       /* of one attempt */
    PATIENCE_MS = 240000,  /* of all attempts for one ticket */
    KILL_AFTER = 100,      /* acknowledged spends */
    KILL_STORE_AFTER = 300 /* then a key store goes as well */
};

struct service_process {
    char name[32];
    pid_t pid;
};

/* One request for one ticket. */
struct request {
    uint8_t id[REQUEST_ID_LEN];
    bool acknowledged;
    bool refused; /* for good: the ticket is spent */
    size_t answer_len;
    uint8_t answer[STORE_ANSWER_MAX];
};

struct scene {
    struct rig rig;
    struct pair pair;
    struct service_process stores[2], resolvers[2];
    struct rpc_client *clients[2];
    Tg__FillResponse *filled;
    struct request requests[TICKETS][RIVALS];
    _Atomic unsigned next, acknowledged;
};

/* ---- processes ---- */

static void service_path(const struct scene *s, const char *name, const char *suffix, char out[160])
{
    snprintf(out, 160, "%s/%s.%s", s->rig.scratch.dir, name, suffix);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void start_service(struct scene *s, struct service_process *p, const char *program, const char *name)
{
    char self[PATH_MAX] = "";
    char path[PATH_MAX + 32];
    char config[160];
    char log[160];
    char option[] = "--config";
    char *argv[] = {path, option, config, NULL};
    pid_t parent = getpid();
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(path, sizeof path, "%s/%s", dirname(self), program);
    snprintf(p->name, sizeof p->name, "%s", name);
    service_path(s, name, "yaml", config);
    service_path(s, name, "log", log);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && dup2(fd, 1) == 1 && dup2(fd, 2) == 2)
            execv(path, argv);
        _exit(127);
    }
}

static bool says(const struct scene *s, const struct service_process *p, const char *word)
{
    char log[160];
    size_t len = 0;
    service_path(s, p->name, "log", log);
    uint8_t *text = read_file(log, &len);
    bool found = text != NULL && memmem(text, len, word, strlen(word)) != NULL;
    free(text);
    return found;
}

static int end_service(struct service_process *p, int signal_number)
{
    int status = 0;
    kill(p->pid, signal_number);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return status;
}

static void start_store(struct scene *s, int i)
{
    char name[16];
    char path[160];
    char text[4096];
    const char *dir = s->rig.scratch.dir;
    snprintf(name, sizeof name, "store-%d", i);
    service_path(s, name, "yaml", path);
    snprintf(text, sizeof text,
             "listeners:\n"
             "  - {address: \"ipc://%s/%s-resolver\", role: resolver}\n"
             "  - {address: \"ipc://%s/%s-charger\", role: charger}\n"
             "  - {address: \"ipc://%s/%s-operator\", role: operator}\n"
             "postgres: {conninfo: \"%s\", password_file: %s, timeout: 3s}\n"
             "keks: [{id: 1, file: %s}]\nticket_key_file: %s\ncentre_id: CENTRE01\n"
             "radius_bridge: {endpoints: [\"ipc://%s/bridge\"]}\naudit: {endpoints: [\"ipc://%s/audit\"]}\n"
             "locked_memory: 1MiB\nanswer_window: 1h\n",
             dir, name, dir, name, dir, name, s->pair.conninfo, s->pair.password_file, s->rig.scratch.kek,
             s->rig.scratch.ticket_key, dir, dir);
    write_file(path, text);
    start_service(s, &s->stores[i], "tg-key-store", name);
}

static void start_resolver(struct scene *s, int i)
{
    char name[16];
    char path[160];
    char text[4096];
    const char *dir = s->rig.scratch.dir;
    snprintf(name, sizeof name, "resolver-%d", i);
    service_path(s, name, "yaml", path);
    snprintf(text, sizeof text,
             "listeners: [{address: \"ipc://%s/%s\", role: gateway}]\n"
             "ticket_key_file: %s\ncentre_id: CENTRE01\n"
             "key_store: {endpoints: [\"ipc://%s/store-%d-resolver\", \"ipc://%s/store-%d-resolver\"]}\n"
             "audit: {endpoints: [\"ipc://%s/audit\"]}\nlocked_memory: 1MiB\n",
             dir, name, s->rig.scratch.ticket_key, dir, i, dir, 1 - i, dir);
    write_file(path, text);
    start_service(s, &s->resolvers[i], "tg-ticket-resolver", name);
}

static bool all_ready(const struct scene *s)
{
    bool ready = true;
    for (int i = 0; i < 2; i++)
        ready = ready && says(s, &s->stores[i], "service.ready") &&
                says(s, &s->resolvers[i], "service.ready") && rpc_client_ready(s->clients[i]);
    return ready && rpc_client_ready(s->rig.admin) && rpc_client_ready(s->rig.charger);
}

static int open_scene(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    *state = s;
    scratch_open(&s->rig.scratch);
    pthread_mutex_init(&s->rig.audit.lock, NULL);
    audit_up(&s->rig);
    bridge_up(&s->rig);
    pair_open(&s->pair, &s->rig.scratch);
    for (int i = 0; i < 2; i++)
        start_store(s, i);
    for (int i = 0; i < 2; i++)
        start_resolver(s, i);
    s->clients[0] = rig_client(&s->rig, "resolver-0");
    s->clients[1] = rig_client(&s->rig, "resolver-1");
    s->rig.admin = rig_client(&s->rig, "store-0-operator");
    s->rig.charger = rig_client(&s->rig, "store-1-charger");
    EVENTUALLY(all_ready(s));
    return 0;
}

static int close_scene(void **state)
{
    struct scene *s = *state;
    for (int i = 0; i < 2; i++) {
        rpc_client_close(s->clients[i]);
        if (s->stores[i].pid > 0)
            end_service(&s->stores[i], SIGKILL);
        if (s->resolvers[i].pid > 0)
            end_service(&s->resolvers[i], SIGKILL);
    }
    rpc_client_close(s->rig.admin);
    rpc_client_close(s->rig.charger);
    rpc_server_close(s->rig.audit.server);
    rpc_server_close(s->rig.bridge.server);
    pthread_mutex_destroy(&s->rig.audit.lock);
    pair_close(&s->pair);
    scratch_close(&s->rig.scratch);
    free(s);
    return 0;
}

/* ---- load ---- */

static enum tg_code resolve(struct scene *s, int resolver, unsigned ticket, const uint8_t *id,
                            ProtobufCMessage **response, struct tg_error *err)
{
    Tg__ResolveRequest request = TG__RESOLVE_REQUEST__INIT;
    request.ticket = s->filled->entries[ticket]->ticket;
    request.qkud_id = pb_string("q1");
    request.source = pb_string("192.0.2.1:4711");
    return rpc_call_wait(s->clients[resolver],
                         &(struct rpc_request){.service = &tg__ticket_resolver__descriptor,
                                               .method = "Resolve",
                                               .message = &request.base,
                                               .budget_ms = CALL_MS,
                                               .request_id = id},
                         response, err);
}

static void keep_answer(struct request *r, ProtobufCMessage *response)
{
    const ProtobufCBinaryData *info = &((const Tg__ResolveResponse *)response)->ticket_info;
    TG_INVARIANT(info->len <= sizeof r->answer);
    memcpy(r->answer, info->data, info->len);
    r->answer_len = info->len;
    r->acknowledged = true;
    rpc_free_response(response);
}

/* As a gateway that does not give up: the same request, through either resolver, until it knows. */
static void ask_until_known(struct scene *s, unsigned ticket, unsigned rival)
{
    struct request *r = &s->requests[ticket][rival];
    uint64_t end = clock_now_ms() + PATIENCE_MS;
    random_bytes(r->id, sizeof r->id);
    for (unsigned i = rival; !r->acknowledged && !r->refused && clock_now_ms() < end; i++) {
        struct tg_error err;
        ProtobufCMessage *response = NULL;
        enum tg_code code = resolve(s, (int)(i % 2), ticket, r->id, &response, &err);
        if (code == TG_OK)
            keep_answer(r, response);
        r->refused = code == TG_FAILED_PRECONDITION;
        if (code != TG_OK && !r->refused)
            usleep(20000); /* a gateway has more to do than to ask */
    }
    s->acknowledged += r->acknowledged;
}

/* Callers come in pairs that are after the same tickets. */
static void *caller(void *arg)
{
    struct scene *s = arg;
    for (;;) {
        unsigned turn = s->next++;
        if (turn >= TICKETS * RIVALS)
            return NULL;
        ask_until_known(s, turn / RIVALS, turn % RIVALS);
    }
}

static void wait_acknowledged(struct scene *s, unsigned count)
{
    uint64_t end = clock_now_ms() + PATIENCE_MS;
    while (s->acknowledged < count && clock_now_ms() < end)
        usleep(1000);
    assert_true(s->acknowledged >= count);
}

/* ---- what must hold ---- */

static void of_each_ticket_one_request_won(struct scene *s)
{
    for (unsigned t = 0; t < TICKETS; t++) {
        const struct request *a = &s->requests[t][0];
        const struct request *b = &s->requests[t][1];
        if (a->acknowledged == b->acknowledged)
            fail_msg("ticket %u: %s", t, a->acknowledged ? "spent twice" : "spent by nobody");
        assert_true(a->refused != a->acknowledged && b->refused != b->acknowledged);
    }
}

/* Asked again, each gets what it got before, and the other is refused still. */
static void nothing_acknowledged_is_lost(struct scene *s)
{
    for (unsigned t = 0; t < TICKETS; t++) {
        for (unsigned rival = 0; rival < RIVALS; rival++) {
            const struct request *r = &s->requests[t][rival];
            struct tg_error err;
            ProtobufCMessage *response = NULL;
            enum tg_code code = resolve(s, (int)(t % 2), t, r->id, &response, &err);
            assert_int_equal(code, r->acknowledged ? TG_OK : TG_FAILED_PRECONDITION);
            if (code != TG_OK)
                continue;
            struct request again = {.acknowledged = false};
            keep_answer(&again, response);
            assert_int_equal(again.answer_len, r->answer_len);
            assert_memory_equal(again.answer, r->answer, r->answer_len);
        }
    }
    assert_int_equal(cluster_number(&s->pair.standby, "SELECT count(*) FROM ticketgate.keys WHERE state = 2"),
                     TICKETS);
}

/* In the audit log, too, each ticket was spent by one request alone. */
static void the_audit_log_agrees(struct scene *s)
{
    struct fake_audit *audit = &s->rig.audit;
    pthread_mutex_lock(&audit->lock);
    for (size_t i = 0; i < audit->count; i++) {
        const struct event *a = &audit->events[i];
        for (size_t j = 0; j < i && strcmp(a->event, "key.spent") == 0; j++) {
            const struct event *b = &audit->events[j];
            if (strcmp(b->event, "key.spent") == 0 && memcmp(a->ticket, b->ticket, TICKET_LEN) == 0)
                assert_memory_equal(a->detail, b->detail, strlen("request ") + 2 * REQUEST_ID_LEN);
        }
    }
    pthread_mutex_unlock(&audit->lock);
}

static void a_primary_that_dies_loses_nothing_and_spends_nothing_twice(void **state)
{
    struct scene *s = *state;
    pthread_t threads[CALLERS];
    s->filled = fill_s1(&s->rig, TICKETS);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, s), 0);
    wait_acknowledged(s, KILL_AFTER);
    cluster_kill(&s->pair.primary, SIGKILL);
    cluster_promote(&s->pair.standby);
    unsigned before = s->acknowledged;
    assert_true(before < TICKETS); /* some are left for the new primary */
    wait_acknowledged(s, before > KILL_STORE_AFTER ? before + 1 : KILL_STORE_AFTER);
    end_service(&s->stores[0], SIGKILL);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    of_each_ticket_one_request_won(s);
    nothing_acknowledged_is_lost(s);
    the_audit_log_agrees(s);
    start_store(s, 0);
    EVENTUALLY(rpc_client_ready(s->rig.admin));
    assert_int_equal(end_service(&s->stores[0], SIGTERM), 0);
    assert_int_equal(end_service(&s->stores[1], SIGTERM), 0);
    rpc_free_response(&s->filled->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_primary_that_dies_loses_nothing_and_spends_nothing_twice,
                                        open_scene, close_scene),
    };
    return cluster_available() ? cmocka_run_group_tests(tests, NULL, NULL) : 77; /* skipped */
}
