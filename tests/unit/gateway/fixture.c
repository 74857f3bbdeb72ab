#include "tests/unit/gateway/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/pb.h"
#include "common/ticket_info.h"
#include "proto/ticket_resolver.pb-c.h"

enum { PATIENCE_S = 60 };

/* ---- scripted peers ---- */

static void hold(struct fixture *f, struct rpc_call *call)
{
    TG_INVARIANT(f->held_count < FIXTURE_HELD_MAX);
    f->held[f->held_count++] = call;
    pthread_cond_broadcast(&f->changed);
}

/* True: the mode has dealt with the call. The lock is held. */
static bool misbehave(struct fixture *f, enum peer_mode mode, struct rpc_call *call)
{
    if (mode == PEER_HOLDS)
        hold(f, call);
    else if (mode == PEER_FAILS)
        rpc_fail(call, f->failure, "scripted to fail");
    return mode == PEER_HOLDS || mode == PEER_FAILS;
}

static struct fixture_ticket *find_ticket(struct fixture *f, const ProtobufCBinaryData *ticket)
{
    for (size_t i = 0; i < f->ticket_count; i++)
        if (ticket->len == TICKET_LEN && memcmp(f->tickets[i].bytes, ticket->data, TICKET_LEN) == 0)
            return &f->tickets[i];
    return NULL;
}

static void give_ticket_info(struct fixture *f, struct fixture_ticket *ticket, struct rpc_call *call)
{
    struct ticket_info info = {.shield_id = "shield-1"};
    uint8_t request_id[REQUEST_ID_LEN], *sealed;
    size_t len;
    memcpy(info.ticket, ticket->bytes, TICKET_LEN);
    strcpy(info.qkud_id, "qkud-1");
    snprintf(info.owner, sizeof info.owner, "%s", ticket->owner);
    snprintf(info.policy, sizeof info.policy, "%s", ticket->policy);
    memcpy(request_id, rpc_call_request_id(call), sizeof request_id);
    request_id[0] ^= f->resolver_mode == PEER_SEALS_WRONG;
    TG_INVARIANT(ticket_info_seal(&info, ticket->key, f->qkud_key, request_id, &sealed, &len, NULL) == TG_OK);
    Tg__ResolveResponse response = TG__RESOLVE_RESPONSE__INIT;
    response.ticket_info = pb_bytes(sealed, len);
    rpc_reply(call, &response.base);
    free(sealed);
}

static void on_resolve(struct rpc_call *call, const ProtobufCMessage *request)
{
    struct fixture *f = rpc_call_context(call);
    const Tg__ResolveRequest *resolve = (const Tg__ResolveRequest *)request;
    pthread_mutex_lock(&f->lock);
    struct fixture_ticket *ticket = find_ticket(f, &resolve->ticket);
    if (misbehave(f, f->resolver_mode, call)) {
        /* nothing more */
    } else if (ticket == NULL) {
        rpc_fail(call, TG_NOT_FOUND, "no such key");
    } else if (ticket->spent) {
        rpc_fail(call, TG_FAILED_PRECONDITION, "spent");
    } else {
        ticket->spent = true;
        give_ticket_info(f, ticket, call);
    }
    pthread_mutex_unlock(&f->lock);
}

static void copy(char *out, size_t size, const void *bytes, size_t len)
{
    snprintf(out, size, "%.*s", (int)len, (const char *)bytes);
}

/* How many rounds are left after this password or answer: "right" 0, "challenge:N" N, an answer "code" one
 * less; anything else: -1, to be rejected. */
static long rounds_left(const char *password, const char *state)
{
    static const char challenge[] = "challenge:";
    if (state[0] != '\0')
        return strcmp(password, "code") == 0 ? strtol(state, NULL, 10) - 1 : -1;
    if (strncmp(password, challenge, sizeof challenge - 1) == 0)
        return strtol(password + sizeof challenge - 1, NULL, 10);
    return strcmp(password, "right") == 0 ? 0 : -1;
}

static void judge(struct fixture *f, const Tg__LoginRequest *login, Tg__LoginResponse *response,
                  char state[24])
{
    copy(state, 24, login->state.data, login->state.len);
    long rounds = rounds_left(f->seen_password, state);
    response->outcome = TG__LOGIN_RESPONSE__OUTCOME__ACCEPT;
    if (rounds < 0)
        response->outcome = TG__LOGIN_RESPONSE__OUTCOME__REJECT;
    if (rounds <= 0)
        return;
    response->outcome = TG__LOGIN_RESPONSE__OUTCOME__CHALLENGE;
    snprintf(state, 24, "%ld", rounds);
    response->state = pb_bytes(state, strlen(state));
}

static void on_login(struct rpc_call *call, const ProtobufCMessage *request)
{
    struct fixture *f = rpc_call_context(call);
    const Tg__LoginRequest *login = (const Tg__LoginRequest *)request;
    Tg__LoginResponse response = TG__LOGIN_RESPONSE__INIT;
    char state[24];
    pthread_mutex_lock(&f->lock);
    copy(f->seen_user, sizeof f->seen_user, login->user, strlen(login->user));
    copy(f->seen_password, sizeof f->seen_password, login->password.data, login->password.len);
    copy(f->seen_station, sizeof f->seen_station, login->calling_station, strlen(login->calling_station));
    copy(f->seen_session, sizeof f->seen_session, login->session_id, strlen(login->session_id));
    if (!misbehave(f, f->bridge_mode, call)) {
        judge(f, login, &response, state);
        response.filter_id = f->filter_id;
        response.reply_message = f->reply_message;
        response.session_timeout_s = f->session_timeout_s;
        response.idle_timeout_s = f->idle_timeout_s;
        rpc_reply(call, &response.base);
    }
    pthread_mutex_unlock(&f->lock);
}

static void record(struct fixture *f, const Tg__Event *from)
{
    TG_INVARIANT(f->event_count < FIXTURE_EVENTS_MAX);
    struct fixture_event *to = &f->events[f->event_count++];
    copy(to->name, sizeof to->name, from->event, strlen(from->event));
    copy(to->reason, sizeof to->reason, from->reason, strlen(from->reason));
    copy(to->user, sizeof to->user, from->user, strlen(from->user));
    copy(to->source, sizeof to->source, from->source, strlen(from->source));
    copy(to->session, sizeof to->session, from->session_id, strlen(from->session_id));
    copy(to->target, sizeof to->target, from->target, strlen(from->target));
    copy(to->policy, sizeof to->policy, from->policy, strlen(from->policy));
    copy(to->detail, sizeof to->detail, from->detail, strlen(from->detail));
    copy(to->trace, sizeof to->trace, from->trace_id, strlen(from->trace_id));
    to->success = from->outcome == TG__EVENT__OUTCOME__SUCCESS;
    to->ticket_len = from->ticket.len;
    to->bytes_in = from->bytes_in;
    to->bytes_out = from->bytes_out;
}

static void on_append(struct rpc_call *call, const ProtobufCMessage *request)
{
    struct fixture *f = rpc_call_context(call);
    const Tg__AppendRequest *append = (const Tg__AppendRequest *)request;
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    pthread_mutex_lock(&f->lock);
    if (!misbehave(f, f->audit_mode, call)) {
        for (size_t i = 0; i < append->n_events; i++)
            record(f, append->events[i]);
        pthread_cond_broadcast(&f->changed);
        rpc_reply(call, &response.base);
    }
    pthread_mutex_unlock(&f->lock);
}

static const struct rpc_method resolver_methods[] = {
    {&tg__ticket_resolver__descriptor, "Resolve", RPC_ROLE_GATEWAY, on_resolve}, {NULL, NULL, 0, NULL}};
static const struct rpc_method bridge_methods[] = {
    {&tg__radius_bridge__descriptor, "Login", RPC_ROLE_SERVICE, on_login}, {NULL, NULL, 0, NULL}};
static const struct rpc_method audit_methods[] = {
    {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE, on_append}, {NULL, NULL, 0, NULL}};

static struct rpc_server *serve(struct fixture *f, const char *name, const struct rpc_method *methods,
                                void *context, unsigned role)
{
    char address[128];
    struct tg_error err;
    struct rpc_server *server;
    snprintf(address, sizeof address, "inproc://%s-%s", f->dir, name);
    struct rpc_listener listener = {.address = address};
    while (1u << listener.role != role)
        listener.role++;
    if (rpc_server_open(&server, methods, context, 64, &err) != TG_OK ||
        rpc_server_listen(server, &listener, &err) != TG_OK)
        fail_msg("scripted %s: %s", name, err.text);
    return server;
}

/* ---- the gateway's files and configuration ---- */

static void write_certificate(const char *dir)
{
    char path[128];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    snprintf(path, sizeof path, "%s/gateway.crt", dir);
    FILE *file = fopen(path, "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    snprintf(path, sizeof path, "%s/gateway.key", dir);
    file = fopen(path, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static const char policies[] =
    "policies:\n"
    "  - {name: all, targets: [\"127.0.0.1:1024-65535\"]}\n"
    "  - {name: narrow, targets: [\"127.0.0.1:1\", \"10.0.0.0/8:22\", \"localhost:5000-65535\"]}";
static const char *const defaults[] = {
    "listen: \"127.0.0.1:0\"",
    "certificate: gateway.crt",
    "private_key: gateway.key",
    "qkud_id: qkud-1",
    "qkud_key_file: qkud.key",
    "suites: [AES256-GCM-SHA256, SM4-CTR-HMAC-SM3]",
    "workers: 2",
    "stream_window: 64KiB",
    "default_policy: all",
    policies,
};

static bool is_replaced(const char *line, const char *extra)
{
    size_t len = strcspn(line, ":") + 1;
    for (const char *at = extra; at != NULL && *at != '\0'; at = strchr(at, '\n'), at += at != NULL)
        if (strncmp(at, line, len) == 0)
            return true;
    return false;
}

static void read_config(struct fixture *f, const char *extra)
{
    char text[8192], name[96];
    size_t len = 0;
    struct tg_error err;
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!is_replaced(defaults[i], extra))
            len += (size_t)snprintf(text + len, sizeof text - len, "%s\n", defaults[i]);
    len += (size_t)snprintf(text + len, sizeof text - len,
                            "resolver: {endpoints: [\"inproc://%s-resolver\"]}\n"
                            "radius_bridge: {endpoints: [\"inproc://%s-bridge\"]}\n"
                            "audit: {endpoints: [\"inproc://%s-audit\"]}\n%s\n",
                            f->dir, f->dir, f->dir, extra != NULL ? extra : "");
    TG_INVARIANT(len < sizeof text);
    snprintf(name, sizeof name, "%s/gateway.yaml", f->dir);
    if (config_parse(name, text, len, gateway_config_rows, &f->config, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static void await_ready(struct fixture *f)
{
    time_t end = time(NULL) + PATIENCE_S;
    while (gateway_not_serving(f->gateway) != NULL || !rpc_client_ready(f->operator)) {
        if (time(NULL) > end)
            fail_msg("the gateway does not get ready");
        usleep(1000); /* there is nothing to wait on: readiness is asked for */
    }
}

struct fixture *fixture_new(const char *extra)
{
    char path[128];
    struct tg_error err;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_open("gateway", getenv("TG_TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR, 2);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    strcpy(f->dir, "/tmp/tg-gateway-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    write_certificate(f->dir);
    f->ticket_key = secret_random(TICKET_KEY_LEN);
    f->qkud_key = secret_random(QUANTUM_KEY_LEN);
    snprintf(path, sizeof path, "%s/qkud.key", f->dir);
    assert_int_equal(file_write_new(path, secret_view(f->qkud_key), QUANTUM_KEY_LEN, &err), TG_OK);
    assert_int_equal(shield_memory_open("shield-1", &f->shield, &err), TG_OK);
    f->resolver = serve(f, "resolver", resolver_methods, f, RPC_ROLE_GATEWAY);
    f->bridge = serve(f, "bridge", bridge_methods, f, RPC_ROLE_SERVICE);
    f->audit = serve(f, "audit", audit_methods, f, RPC_ROLE_SERVICE);
    read_config(f, extra);
    if (gateway_open(&f->config, &f->gateway, &err) != TG_OK || gateway_start(f->gateway, &err) != TG_OK)
        fail_msg("%s", err.text);
    f->admin = serve(f, "admin", gateway_methods, f->gateway, RPC_ROLE_OPERATOR);
    snprintf(path, sizeof path, "inproc://%s-admin", f->dir);
    char *endpoint = path;
    struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    assert_int_equal(rpc_client_open(&f->operator, "gateway", &peer, &err), TG_OK);
    await_ready(f);
    return f;
}

void fixture_free(struct fixture *f)
{
    char path[128];
    static const char *const files[] = {"gateway.crt", "gateway.key", "qkud.key"};
    fixture_set_mode(f, &f->resolver_mode, PEER_ANSWERS); /* nothing may be held from here on */
    fixture_set_mode(f, &f->bridge_mode, PEER_ANSWERS);
    fixture_set_mode(f, &f->audit_mode, PEER_ANSWERS);
    fixture_release(f);
    rpc_client_close(f->operator);
    rpc_server_close(f->admin);
    gateway_close(f->gateway);
    rpc_server_close(f->resolver);
    rpc_server_close(f->bridge);
    rpc_server_close(f->audit);
    config_free(gateway_config_rows, &f->config);
    shield_close(f->shield);
    secret_free(f->ticket_key);
    secret_free(f->qkud_key);
    for (size_t i = 0; i < f->ticket_count; i++)
        secret_free(f->tickets[i].key);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f->dir, files[i]);
        unlink(path);
    }
    rmdir(f->dir);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

int fixture_setup(void **state)
{
    *state = fixture_new(NULL);
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- clients ---- */

struct shield_key *fixture_key(struct fixture *f, const char *owner, const char *policy)
{
    struct ticket ticket = {.centre = "CENTRE0", .expires_s = (uint64_t)time(NULL) + 3600};
    struct shield_key *key;
    pthread_mutex_lock(&f->lock);
    TG_INVARIANT(f->ticket_count < FIXTURE_TICKETS_MAX);
    struct fixture_ticket *fresh = &f->tickets[f->ticket_count++];
    ticket_new_key_id(ticket.key_id);
    ticket_encode(&ticket, f->ticket_key, fresh->bytes);
    fresh->key = secret_random(QUANTUM_KEY_LEN);
    snprintf(fresh->owner, sizeof fresh->owner, "%s", owner != NULL ? owner : "");
    snprintf(fresh->policy, sizeof fresh->policy, "%s", policy != NULL ? policy : "");
    struct shield_entry entry = {.ticket = fresh->bytes, .key = fresh->key};
    assert_int_equal(shield_add(f->shield, &entry, 1, NULL), TG_OK);
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(shield_take(f->shield, (uint64_t)time(NULL), &key, NULL), TG_OK);
    return key;
}

struct scripted *fixture_connect(struct fixture *f, const char *from)
{
    struct scripted *s = scripted_connect(f->gateway->address, from);
    assert_non_null(s);
    return s;
}

struct scripted *fixture_client(struct fixture *f, enum scripted_stage last,
                                const struct scripted_faults *faults)
{
    struct scripted *s = fixture_connect(f, NULL);
    struct shield_key *key = fixture_key(f, NULL, NULL);
    if (faults != NULL)
        *scripted_faults(s) = *faults;
    if (!scripted_until(s, last, key, "alice", "right"))
        fail_msg("%s", scripted_problem(s));
    shield_key_free(key);
    return s;
}

/* ---- waiting ---- */

static void wait_for_change(struct fixture *f, const struct timespec *end, const char *what)
{
    if (pthread_cond_timedwait(&f->changed, &f->lock, end) != 0) {
        pthread_mutex_unlock(&f->lock);
        fail_msg("waited in vain for %s", what);
    }
}

static size_t count_events(const struct fixture *f, const char *name, size_t n, struct fixture_event *nth)
{
    size_t count = 0;
    for (size_t i = 0; i < f->event_count; i++)
        if (strcmp(f->events[i].name, name) == 0 && ++count == n)
            *nth = f->events[i];
    return count;
}

struct fixture_event fixture_event(struct fixture *f, const char *name, size_t n)
{
    struct fixture_event event;
    struct timespec end = {.tv_sec = time(NULL) + PATIENCE_S};
    pthread_mutex_lock(&f->lock);
    while (count_events(f, name, n, &event) < n)
        wait_for_change(f, &end, name);
    pthread_mutex_unlock(&f->lock);
    return event;
}

size_t fixture_event_count(struct fixture *f, const char *name)
{
    struct fixture_event event;
    pthread_mutex_lock(&f->lock);
    size_t count = count_events(f, name, SIZE_MAX, &event);
    pthread_mutex_unlock(&f->lock);
    return count;
}

void fixture_set_mode(struct fixture *f, enum peer_mode *mode, enum peer_mode value)
{
    pthread_mutex_lock(&f->lock);
    *mode = value;
    pthread_mutex_unlock(&f->lock);
}

void fixture_fail_first(struct fixture *f, enum tg_code code)
{
    pthread_mutex_lock(&f->lock);
    TG_INVARIANT(f->held_count > 0);
    rpc_fail(f->held[0], code, "scripted to fail");
    f->held_count--;
    for (size_t i = 0; i < f->held_count; i++)
        f->held[i] = f->held[i + 1];
    pthread_mutex_unlock(&f->lock);
}

void fixture_release(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->held_count; i++)
        rpc_fail(f->held[i], TG_INTERNAL, "released"); /* UNAVAILABLE would be tried again */
    f->held_count = 0;
    pthread_mutex_unlock(&f->lock);
}

void fixture_await_held(struct fixture *f, size_t count)
{
    struct timespec end = {.tv_sec = time(NULL) + PATIENCE_S};
    pthread_mutex_lock(&f->lock);
    while (f->held_count < count)
        wait_for_change(f, &end, "a call that is held");
    pthread_mutex_unlock(&f->lock);
}

/* ---- targets ---- */

int target_listen(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    getsockname(fd, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    return fd;
}

int target_accept(int listening)
{
    int fd = accept(listening, NULL, NULL);
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}
