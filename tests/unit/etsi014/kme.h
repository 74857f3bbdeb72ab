/* A KME that does as it is told: well, until a test scripts an answer. Over real mutual TLS, one thread a
 * connection. It knows nothing of SAEs: what is drawn from it by enc_keys can be had by dec_keys, once. */
#ifndef TG_TESTS_ETSI014_KME_H
#define TG_TESTS_ETSI014_KME_H

#include "pki.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "common/error.h"
#include "common/trace.h"

enum { KME_CONNECTIONS = 32, KME_KEYS = 4096, KME_ASKED = 64, KME_REQUEST_MAX = 70000, KME_STEPS = 16 };

/* What is done instead of the next answer to a request that has `call` in it ("enc_keys"). */
struct kme_step {
    const char *call;
    int status; /* 0: not one byte until the test is over */
    const char *body;
    size_t repeat; /* the body so often; 0: once */
    bool cut;      /* promise more bytes than come */
};

struct kme_key {
    char id[37];
    uint8_t bytes[32];
    bool taken;
};

struct kme {
    int listener;
    char url[64];
    SSL_CTX *tls;
    pthread_t thread, threads[KME_CONNECTIONS];
    int sockets[KME_CONNECTIONS];
    pthread_mutex_t lock; /* all below */
    size_t connections, requests, steps, key_count;
    struct kme_step script[KME_STEPS];
    struct kme_key keys[KME_KEYS];
    char asked[KME_ASKED][512]; /* "POST /api/…: body" */
    unsigned per_request, max_bits, key_bytes;
    bool stopping, reversed;
};

struct kme_connection {
    struct kme *kme;
    int fd;
};

/* ---- what it answers of itself ---- */

static inline char *kme_status(const struct kme *k)
{
    char *body = NULL;
    assert_true(asprintf(&body,
                         "{\"source_KME_ID\":\"kme-a\",\"target_KME_ID\":\"kme-b\",\"master_SAE_ID\":\"a\","
                         "\"slave_SAE_ID\":\"b\",\"key_size\":256,\"stored_key_count\":1000,"
                         "\"max_key_count\":5000,\"max_key_per_request\":%u,\"max_key_size\":%u,"
                         "\"min_key_size\":64,\"max_SAE_ID_count\":0}",
                         k->per_request, k->max_bits) > 0);
    return body;
}

static inline json_t *kme_item(const struct kme_key *key, unsigned bytes)
{
    uint8_t text[64];
    EVP_EncodeBlock(text, key->bytes, (int)bytes);
    return json_pack("{s:s, s:s}", "key_ID", key->id, "key", text);
}

static inline char *kme_container(json_t *list)
{
    json_t *container = json_pack("{s:o}", "keys", list);
    char *body = json_dumps(container, 0);
    json_decref(container);
    return body;
}

static inline char *kme_enc_keys(struct kme *k, size_t number)
{
    json_t *list = json_array();
    for (size_t i = 0; i < number; i++) {
        struct kme_key *key = &k->keys[k->key_count++];
        uint8_t id[TICKET_KEY_ID_LEN];
        TG_INVARIANT(k->key_count < KME_KEYS);
        ticket_new_key_id(id);
        ticket_key_id_text(id, key->id);
        random_bytes(key->bytes, sizeof key->bytes);
        json_array_append_new(list, kme_item(key, k->key_bytes));
    }
    return kme_container(list);
}

/* NULL: one of them is not there. */
static inline char *kme_dec_keys(struct kme *k, char (*ids)[37], size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < k->key_count && (k->keys[at].taken || strcmp(k->keys[at].id, ids[i]) != 0))
            at++;
        if (at == k->key_count) {
            json_decref(list);
            return NULL;
        }
        k->keys[at].taken = true;
        json_array_insert_new(list, k->reversed ? 0 : i, kme_item(&k->keys[at], k->key_bytes));
    }
    return kme_container(list);
}

static inline size_t kme_ids(const char *line, const char *body, char (*ids)[37])
{
    size_t count = 0;
    const char *in_url = strstr(line, "key_ID=");
    if (in_url != NULL)
        snprintf(ids[count++], 37, "%s", in_url + strlen("key_ID="));
    json_t *json = json_loads(body, 0, NULL);
    const json_t *list = json_object_get(json, "key_IDs");
    for (; in_url == NULL && count < json_array_size(list); count++)
        snprintf(ids[count], 37, "%s",
                 json_string_value(json_object_get(json_array_get(list, count), "key_ID")));
    json_decref(json);
    return count;
}

static inline size_t kme_number(const char *line, const char *body)
{
    const char *in_url = strstr(line, "number=");
    if (in_url != NULL)
        return strtoul(in_url + strlen("number="), NULL, 10);
    json_t *json = json_loads(body, 0, NULL);
    size_t number = (size_t)json_integer_value(json_object_get(json, "number"));
    json_decref(json);
    return number > 0 ? number : 1;
}

/* The well-behaved answer; *status is 200 or 400. */
static inline char *kme_answer(struct kme *k, const char *line, const char *body, int *status)
{
    static char ids[ETSI014_KEYS_MAX][37]; /* under the lock */
    char *answer = NULL;
    if (strstr(line, "/status ") != NULL)
        answer = kme_status(k);
    else if (strstr(line, "/enc_keys") != NULL)
        answer = kme_enc_keys(k, kme_number(line, body));
    else if (strstr(line, "/dec_keys") != NULL)
        answer = kme_dec_keys(k, ids, kme_ids(line, body, ids));
    *status = answer != NULL ? 200 : 400;
    return answer != NULL ? answer : strdup("{\"message\":\"" ETSI014_KEYS_NOT_FOUND "\"}");
}

/* ---- HTTP, barely ---- */

static inline void kme_send(SSL *ssl, int status, const char *body, size_t repeat, bool cut)
{
    char head[128];
    size_t len = strlen(body) * repeat;
    int head_len =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d Scripted\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                 "Location: /elsewhere\r\n\r\n",
                 status, len + (cut ? 100 : 0));
    bool sent = SSL_write(ssl, head, head_len) > 0;
    for (size_t i = 0; i < repeat && sent && body[0] != '\0'; i++)
        sent = SSL_write(ssl, body, (int)strlen(body)) > 0;
    if (cut)
        SSL_shutdown(ssl);
}

/* One request into `request`: head, NUL, body, NUL. NULL: the connection is over; else the body. */
static inline char *kme_read(SSL *ssl, char *request)
{
    size_t len = 0;
    char *end = NULL;
    while (end == NULL) {
        int got = len < KME_REQUEST_MAX ? SSL_read(ssl, request + len, (int)(KME_REQUEST_MAX - len)) : 0;
        if (got <= 0)
            return NULL;
        len += (size_t)got;
        request[len] = '\0';
        end = strstr(request, "\r\n\r\n");
    }
    const char *length = strcasestr(request, "content-length:");
    size_t need = length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
    char *body = end + 4;
    while ((size_t)(request + len - body) < need) {
        int got = SSL_read(ssl, request + len, (int)(KME_REQUEST_MAX - len));
        if (got <= 0)
            return NULL;
        len += (size_t)got;
        request[len] = '\0';
    }
    *end = '\0';
    return body;
}

static inline bool kme_scripted(struct kme *k, const char *asked, struct kme_step *out)
{
    for (size_t i = 0; i < k->steps; i++)
        if (k->script[i].call != NULL && strstr(asked, k->script[i].call) != NULL) {
            *out = k->script[i];
            k->script[i].call = NULL;
            return true;
        }
    return false;
}

/* False: the connection is to end. */
static inline bool kme_respond(struct kme *k, SSL *ssl, char *line, const char *body)
{
    struct kme_step step = {0};
    char *answer = NULL;
    pthread_mutex_lock(&k->lock);
    char *asked = k->asked[k->requests++ % KME_ASKED];
    *strchrnul(line, '\r') = '\0';
    snprintf(asked, sizeof k->asked[0], "%.200s: %.300s", line, body);
    bool scripted = kme_scripted(k, asked, &step);
    if (!scripted)
        answer = kme_answer(k, line, body, &step.status);
    pthread_mutex_unlock(&k->lock);
    if (scripted && step.status != 0)
        kme_send(ssl, step.status, step.body, step.repeat > 0 ? step.repeat : 1, step.cut);
    else if (!scripted)
        kme_send(ssl, step.status, answer, 1, false);
    free(answer);
    if (scripted && step.status == 0) {
        char byte;
        (void)SSL_read(ssl, &byte, 1); /* until either end hangs up */
    }
    return !step.cut && (!scripted || step.status != 0);
}

static inline void *kme_serve(void *arg)
{
    struct kme_connection *connection = arg;
    struct kme *k = connection->kme;
    char *request = malloc(KME_REQUEST_MAX + 1);
    SSL *ssl = SSL_new(k->tls);
    SSL_set_fd(ssl, connection->fd);
    const char *body;
    if (SSL_accept(ssl) == 1)
        while ((body = kme_read(ssl, request)) != NULL && kme_respond(k, ssl, request, body))
            ;
    SSL_free(ssl);
    shutdown(connection->fd, SHUT_RDWR);
    free(request);
    free(connection);
    return NULL;
}

static inline void *kme_accept(void *arg)
{
    struct kme *k = arg;
    for (;;) {
        int fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&k->lock);
        bool stop = k->stopping || fd < 0;
        if (!stop) {
            struct kme_connection *connection = malloc(sizeof *connection);
            *connection = (struct kme_connection){k, fd};
            TG_INVARIANT(k->connections < KME_CONNECTIONS);
            k->sockets[k->connections] = fd;
            TG_INVARIANT(pthread_create(&k->threads[k->connections++], NULL, kme_serve, connection) == 0);
        } else if (fd >= 0) {
            close(fd);
        }
        pthread_mutex_unlock(&k->lock);
        if (stop)
            return NULL;
    }
}

/* ---- for tests ---- */

static inline void kme_listen(struct kme *k)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    k->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(k->listener, (const struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(k->listener, 16), 0);
    assert_int_equal(getsockname(k->listener, (struct sockaddr *)&sa, &len), 0);
    snprintf(k->url, sizeof k->url, "https://127.0.0.1:%d", ntohs(sa.sin_port));
}

/* Its certificate is of `a`; it trusts the SAEs of `saes`. */
static inline struct kme *kme_start(const struct authority *a, const struct authority *saes)
{
    struct kme *k = calloc(1, sizeof *k);
    struct identity id = authority_issue(a, "kme");
    signal(SIGPIPE, SIG_IGN);
    k->per_request = 100;
    k->max_bits = 1024;
    k->key_bytes = 32;
    k->tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_file(k->tls, id.certificate, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(k->tls, id.key, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_load_verify_file(k->tls, saes->ca), 1);
    SSL_CTX_set_verify(k->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    pthread_mutex_init(&k->lock, NULL);
    kme_listen(k);
    assert_int_equal(pthread_create(&k->thread, NULL, kme_accept, k), 0);
    return k;
}

static inline void kme_stop(struct kme *k)
{
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_mutex_unlock(&k->lock);
    shutdown(k->listener, SHUT_RDWR);
    pthread_join(k->thread, NULL);
    for (size_t i = 0; i < k->connections; i++) {
        shutdown(k->sockets[i], SHUT_RDWR);
        pthread_join(k->threads[i], NULL);
        close(k->sockets[i]);
    }
    close(k->listener);
    SSL_CTX_free(k->tls);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static inline void kme_script(struct kme *k, struct kme_step step)
{
    pthread_mutex_lock(&k->lock);
    assert_true(k->steps < KME_STEPS);
    k->script[k->steps++] = step;
    pthread_mutex_unlock(&k->lock);
}

/* How many requests had `word` in them. */
static inline size_t kme_count(struct kme *k, const char *word)
{
    size_t count = 0;
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->requests && i < KME_ASKED; i++)
        count += strstr(k->asked[i], word) != NULL;
    pthread_mutex_unlock(&k->lock);
    return count;
}

static inline struct etsi014_peer kme_peer(struct kme *k, struct identity *sae, struct authority *a)
{
    return (struct etsi014_peer){
        .url = k->url, .certificate = sae->certificate, .key = sae->key, .ca = a->ca, .timeout_ms = 60000};
}

#endif
