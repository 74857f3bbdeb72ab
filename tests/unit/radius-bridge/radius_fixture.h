/* A real FreeRADIUS with the configuration of deploy/freeradius, for the tests' own directory and ports, and
 * a relay in front of it that can break connections. */
#ifndef TG_TEST_RADIUS_FIXTURE_H
#define TG_TEST_RADIUS_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/pb.h"
#include "services/radius-bridge/pool.h"

/* ---- sockets ---- */

static inline int listen_on(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 64) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline int connect_to(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- FreeRADIUS ---- */

static struct {
    char dir[64];
    int port;  /* RadSec, and UDP with the secret "udp-secret" */
    pid_t pid; /* 0: it does not run */
} radius;

static inline void radius_write(const char *name, const char *mode, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", radius.dir, name);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0400), 0);
}

/* The deployed configuration, but listening on all loopback addresses, and over UDP as well. */
static inline void radius_files(void)
{
    char command[1024];
    char udp[256];
    snprintf(command, sizeof command,
             "set -e; cd '%s'; mkdir freeradius; sh '%s/deploy/pki.sh' '%s' >/dev/null;"
             "sed 's|@DIR@|%s|g; s|@RADIUS_PORT@|%d|g; s|ipaddr = 127.0.0.1|ipaddr = 127.0.0.0/8|;"
             "     /^server bank/,$ s|ipaddr = 127.0.0.0/8|ipaddr = *|' '%s/deploy/freeradius/radiusd.conf'"
             "  >freeradius/radiusd.conf",
             radius.dir, TG_SOURCE_DIR, radius.dir, radius.dir, radius.port, TG_SOURCE_DIR);
    if (system(command) != 0) /* NOLINT(cert-env33-c): our own fresh directory */
        fail_msg("cannot make FreeRADIUS' files in %s", radius.dir);
    snprintf(udp, sizeof udp,
             "listen {\n type = auth\n ipaddr = 127.0.0.1\n port = %d\n virtual_server = bank\n}\n"
             "client udp {\n ipaddr = 127.0.0.1\n secret = udp-secret\n}\n",
             radius.port);
    radius_write("freeradius/radiusd.conf", "a", udp);
    radius_write("freeradius/users", "w",
                 "alice Cleartext-Password := \"wonder\"\n"
                 "\tReply-Message = \"Welcome, %{User-Name}.\", Reply-Message += \"Mind the gap\",\n"
                 "\tSession-Timeout = 3600, Idle-Timeout = 600, Filter-Id = \"core-ops\", Class = 0x0001ff\n"
                 /* a password of RADIUS_PASSWORD_MAX bytes */
                 "verbose Cleartext-Password := \""
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                 "\"\n"
                 "carol Cleartext-Password := \"pw\", Tmp-String-0 := \"123456\"\n"
                 "\tSession-Timeout = 100\n");
    radius_write("secret", "w", "udp-secret");
    radius_write("wrong-secret", "w", "wrong");
}

static inline void radius_start(void)
{
    char dir[96];
    snprintf(dir, sizeof dir, "%s/freeradius", radius.dir);
    radius.pid = fork();
    assert_true(radius.pid >= 0);
    if (radius.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left when a test is killed */
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execlp("freeradius", "freeradius", "-f", "-d", dir, "-n", "radiusd", (char *)NULL);
        _exit(127);
    }
    for (int fd = connect_to(radius.port);; fd = connect_to(radius.port)) {
        if (fd >= 0) {
            close(fd);
            return;
        }
        if (waitpid(radius.pid, NULL, WNOHANG) != 0)
            fail_msg("FreeRADIUS does not start: see %s/radius.log", dir);
        poll(NULL, 0, 5);
    }
}

static inline void radius_stop(void)
{
    if (radius.pid > 0) {
        kill(radius.pid, SIGKILL);
        waitpid(radius.pid, NULL, 0);
    }
    radius.pid = 0;
}

static inline int radius_open(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(radius.dir, sizeof radius.dir, "/tmp/tg-test-radius-XXXXXX");
    if (mkdtemp(radius.dir) == NULL)
        return -1;
    close(listen_on(&radius.port));
    radius_files();
    radius_start();
    return 0;
}

static inline int radius_close(void **state)
{
    char command[128];
    (void)state;
    radius_stop();
    snprintf(command, sizeof command, "rm -rf '%s'", radius.dir);
    return system(command); /* NOLINT(cert-env33-c): our own fresh directory */
}

/* Runs again, whatever the test before did to it. */
static inline void radius_ensure(void)
{
    if (radius.pid == 0)
        radius_start();
}

/* ---- the relay ---- */

enum relay_mode {
    RELAY_FORWARDS,
    RELAY_STALLS,     /* answers with the beginning of a TLS record, and no more */
    RELAY_IS_SILENT,  /* takes everything, passes nothing on */
    RELAY_CLOSES,     /* closes a connection as soon as the client says something on it */
    RELAY_CLOSES_ONE, /* the same, once; then it forwards */
    RELAY_REFUSES     /* closes every new connection at once */
};

enum { RELAY_PAIRS = 128 };

struct relay {
    int port;
    int target;
    int listener;
    int wake[2];
    _Atomic enum relay_mode mode;
    atomic_bool close_all;
    atomic_bool stop;
    atomic_size_t accepted;
    pthread_t thread;
    int ends[RELAY_PAIRS][2]; /* client, server; -1: free */
};

static inline void relay_close_pair(struct relay *relay, size_t n)
{
    for (int i = 0; i < 2; i++) {
        if (relay->ends[n][i] >= 0)
            close(relay->ends[n][i]);
        relay->ends[n][i] = -1;
    }
}

static inline void relay_accept(struct relay *relay)
{
    int client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t n = 0; client >= 0 && n < RELAY_PAIRS; n++) {
        if (relay->ends[n][0] >= 0)
            continue;
        relay->ends[n][0] = client;
        relay->ends[n][1] = relay->mode == RELAY_IS_SILENT ? -1 : connect_to(relay->target);
        relay->accepted++;
        if (relay->mode == RELAY_REFUSES)
            relay_close_pair(relay, n);
        return;
    }
}

static inline void relay_move(struct relay *relay, size_t n, int from)
{
    char bytes[16384];
    int to = relay->ends[n][!from];
    ssize_t got = read(relay->ends[n][from], bytes, sizeof bytes);
    enum relay_mode closing = RELAY_CLOSES_ONE;
    bool good = got > 0 && (from == 1 || relay->mode != RELAY_CLOSES);
    if (from == 0 && atomic_compare_exchange_strong(&relay->mode, &closing, RELAY_FORWARDS))
        good = false;
    else if (good && relay->mode == RELAY_STALLS)
        good = from == 1 || write(relay->ends[n][0], "\x17\x03\x03\x01\x00", 5) == 5;
    else if (good && relay->mode != RELAY_IS_SILENT && to >= 0)
        good = write(to, bytes, (size_t)got) == got;
    if (!good && from == 1 && relay->mode == RELAY_STALLS) { /* the client shall not see it */
        close(relay->ends[n][1]);
        relay->ends[n][1] = -1;
    } else if (!good) {
        relay_close_pair(relay, n);
    }
}

static inline void *relay_main(void *arg)
{
    struct relay *relay = arg;
    while (!relay->stop) {
        struct pollfd watched[2 + 2 * RELAY_PAIRS] = {{relay->wake[0], POLLIN, 0},
                                                      {relay->listener, POLLIN, 0}};
        for (size_t n = 0; n < RELAY_PAIRS; n++) {
            watched[2 + 2 * n] = (struct pollfd){relay->ends[n][0], POLLIN, 0};
            watched[3 + 2 * n] = (struct pollfd){relay->ends[n][1], POLLIN, 0};
        }
        poll(watched, 2 + 2 * RELAY_PAIRS, -1);
        char byte;
        if (watched[0].revents != 0 && read(relay->wake[0], &byte, 1) == 1 && relay->close_all) {
            for (size_t n = 0; n < RELAY_PAIRS; n++)
                relay_close_pair(relay, n);
            relay->close_all = false;
            continue;
        }
        for (size_t n = 0; n < RELAY_PAIRS; n++) {
            for (int i = 0; i < 2; i++) {
                if (watched[2 + 2 * n + (size_t)i].revents != 0 && relay->ends[n][i] >= 0)
                    relay_move(relay, n, i);
            }
        }
        if (watched[1].revents != 0)
            relay_accept(relay);
    }
    for (size_t n = 0; n < RELAY_PAIRS; n++)
        relay_close_pair(relay, n);
    return NULL;
}

static inline struct relay *relay_open(enum relay_mode mode)
{
    struct relay *relay = calloc(1, sizeof *relay);
    assert_non_null(relay);
    memset(relay->ends, 0xff, sizeof relay->ends);
    relay->listener = listen_on(&relay->port);
    relay->target = radius.port;
    relay->mode = mode;
    assert_int_equal(pipe2(relay->wake, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
    return relay;
}

static inline void relay_wake(struct relay *relay)
{
    assert_int_equal(write(relay->wake[1], "", 1), 1);
}

/* All connections are closed when this returns. */
static inline void relay_drop(struct relay *relay)
{
    relay->close_all = true;
    relay_wake(relay);
    while (relay->close_all)
        poll(NULL, 0, 1);
}

/* Nothing hangs on it any more when this returns, nor ever will: for the end of a test. */
static inline void relay_refuse(struct relay *relay)
{
    relay->mode = RELAY_REFUSES;
    relay_drop(relay);
}

static inline void relay_close(struct relay *relay)
{
    relay->stop = true;
    relay_wake(relay);
    pthread_join(relay->thread, NULL);
    close(relay->listener);
    close(relay->wake[0]);
    close(relay->wake[1]);
    free(relay);
}

/* ---- the pool under test ---- */

struct rig {
    char ca[128], certificate[128], key[128], secret[128], wrong_secret[128], host[16];
    char name[POOL_SERVERS_MAX][16];
    struct radius_server_config servers[POOL_SERVERS_MAX];
    struct pool_options options;
    struct pool *pool;
    pthread_mutex_t lock;
    unsigned changes; /* server_changed calls */
};

static inline void count_change(void *arg, const char *server, bool up, const char *why)
{
    struct rig *rig = arg;
    assert_non_null(server);
    assert_true(up || why[0] != '\0');
    pthread_mutex_lock(&rig->lock);
    rig->changes++;
    pthread_mutex_unlock(&rig->lock);
}

static inline struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    pthread_mutex_init(&rig->lock, NULL);
    snprintf(rig->ca, sizeof rig->ca, "%s/pki/radius-ca.crt", radius.dir);
    snprintf(rig->certificate, sizeof rig->certificate, "%s/pki/radius-client.crt", radius.dir);
    snprintf(rig->key, sizeof rig->key, "%s/pki/radius-client.key", radius.dir);
    snprintf(rig->secret, sizeof rig->secret, "%s/secret", radius.dir);
    snprintf(rig->wrong_secret, sizeof rig->wrong_secret, "%s/wrong-secret", radius.dir);
    snprintf(rig->host, sizeof rig->host, "127.0.0.1");
    rig->options = (struct pool_options){.servers = rig->servers,
                                         .workers = 4,
                                         .queue = 64,
                                         .connect_timeout_ms = 300,
                                         .response_timeout_ms = 60000,
                                         .dead_time_ms = 60000,
                                         .server_changed = count_change,
                                         .arg = rig};
    return rig;
}

static inline struct radius_server_config *rig_add(struct rig *rig, int port)
{
    size_t n = rig->options.server_count++;
    snprintf(rig->name[n], sizeof rig->name[n], "radius-%zu", n + 1);
    rig->servers[n] = (struct radius_server_config){.name = rig->name[n],
                                                    .transport = RADIUS_RADSEC,
                                                    .host = rig->host,
                                                    .port = port,
                                                    .ca = rig->ca,
                                                    .certificate = rig->certificate,
                                                    .key = rig->key};
    return &rig->servers[n];
}

static inline void rig_start(struct rig *rig)
{
    struct tg_error err = {0};
    if (pool_open(&rig->pool, &rig->options, &err) != TG_OK || pool_start(rig->pool, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline void rig_free(struct rig *rig)
{
    pool_close(rig->pool);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
}

/* ---- asking ---- */

struct login {
    pthread_mutex_t lock;
    pthread_cond_t told;
    unsigned count;
    enum tg_code status;
    struct radius_answer answer;
    char server[32];
    char text[256];
    Tg__LoginRequest request;
};

static inline void login_told(void *arg, enum tg_code status, const char *text,
                              const struct radius_answer *answer, const char *server)
{
    struct login *login = arg;
    pthread_mutex_lock(&login->lock);
    login->count++;
    login->status = status;
    snprintf(login->text, sizeof login->text, "%s", text);
    if (answer != NULL)
        login->answer = *answer;
    snprintf(login->server, sizeof login->server, "%s", server != NULL ? server : "");
    pthread_cond_signal(&login->told);
    pthread_mutex_unlock(&login->lock);
}

static inline void login_init(struct login *login, const char *user, const char *password)
{
    memset(login, 0, sizeof *login);
    pthread_mutex_init(&login->lock, NULL);
    pthread_cond_init(&login->told, NULL);
    tg__login_request__init(&login->request);
    login->request.user = pb_string(user);
    login->request.password = pb_bytes(password, strlen(password));
    login->request.nas_identifier = pb_string("qkud-test");
    login->request.calling_station = pb_string("192.0.2.1");
    login->request.session_id = pb_string("0123456789abcdef");
}

static inline void login_start(struct rig *rig, struct login *login, uint32_t budget_ms)
{
    pool_ask(rig->pool, &login->request, budget_ms, login_told, login);
}

static inline enum tg_code login_wait(struct login *login)
{
    pthread_mutex_lock(&login->lock);
    while (login->count == 0)
        pthread_cond_wait(&login->told, &login->lock);
    assert_int_equal(login->count, 1);
    pthread_mutex_unlock(&login->lock);
    return login->status;
}

static inline enum tg_code log_in(struct rig *rig, struct login *login, const char *user,
                                  const char *password)
{
    login_init(login, user, password);
    login_start(rig, login, 60000);
    return login_wait(login);
}

static inline void assert_accepted(struct rig *rig)
{
    struct login login;
    if (log_in(rig, &login, "alice", "wonder") != TG_OK)
        fail_msg("%s", login.text);
    assert_int_equal(login.answer.outcome, TG__LOGIN_RESPONSE__OUTCOME__ACCEPT);
}

#endif
