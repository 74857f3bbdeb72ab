#include "common/etsi014/exchange.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/json.h"
#include "common/file.h"
#include "common/monotonic.h"
#include "common/trace.h"
#include "common/utf8.h"

enum { PEM_MAX = 256 * 1024, URL_MAX = 1024, ATTEMPTS_MAX = 4, FIRST_PAUSE_MS = 100 };

struct exchange {
    CURL *curl;
    struct curl_slist *headers;
    char *url; /* of the KME, without a slash at its end */
    char *certificate, *ca;
    size_t certificate_len, ca_len;
    struct secret *key;
    char why[CURL_ERROR_SIZE];
    char *body; /* ETSI014_BODY_MAX */
    size_t len;
    bool too_long;
    pthread_mutex_t lock; /* interrupted */
    pthread_cond_t woken;
    bool interrupted;
};

const char *exchange_url(const struct exchange *x)
{
    return x->url;
}

/* ---- what libcurl calls ---- */

static size_t take_bytes(char *bytes, size_t one, size_t len, void *arg)
{
    struct exchange *x = arg;
    (void)one;
    x->too_long = len > ETSI014_BODY_MAX - x->len;
    if (x->too_long)
        return 0;
    memcpy(x->body + x->len, bytes, len);
    x->len += len;
    return len;
}

static bool is_interrupted(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool interrupted = x->interrupted;
    pthread_mutex_unlock(&x->lock);
    return interrupted;
}

static int still_wanted(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return is_interrupted(arg);
}

/* Keys have been in TLS records: OpenSSL is to wipe what it has handed on. */
static CURLcode keep_no_plaintext(CURL *curl, void *context, void *arg)
{
    (void)curl;
    (void)arg;
    SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
    return CURLE_OK;
}

/* ---- open and close ---- */

static void start_curl(void)
{
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, etsi014_wiping_free, etsi014_wiping_realloc, strdup,
                         calloc);
}

static enum tg_code read_files(struct exchange *x, const struct etsi014_peer *peer, struct tg_error *err)
{
    TG_ENSURE(peer->certificate != NULL && peer->key != NULL && peer->ca != NULL, err, TG_INVALID_ARGUMENT,
              "KME %s: certificate, key and ca must be given", peer->url);
    TG_TRY(file_read(peer->certificate, PEM_MAX, &x->certificate, &x->certificate_len, err));
    TG_TRY(file_read(peer->ca, PEM_MAX, &x->ca, &x->ca_len, err));
    return file_read_secret(peer->key, 0, &x->key, err);
}

static bool set_blob(CURL *curl, CURLoption option, const void *bytes, size_t len)
{
    union {
        const void *in;
        void *out;
    } cast = {.in = bytes};
    struct curl_blob blob = {.data = cast.out, .len = len, .flags = CURL_BLOB_NOCOPY};
    return curl_easy_setopt(curl, option, &blob) == CURLE_OK;
}

#define SET(option, value) (curl_easy_setopt(x->curl, CURLOPT_##option, value) == CURLE_OK)

/* Sessions are not resumed: an OpenSSL server that asks for certificates and was given no session id context
 * fails when one tries, and a connection that is kept makes resuming worth little. */
static bool set_up_tls(struct exchange *x)
{
    return SET(PROTOCOLS_STR, "https") && SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(SSL_SESSIONID_CACHE, 0L) && SET(SSL_VERIFYPEER, 1L) && SET(SSL_VERIFYHOST, 2L) &&
           set_blob(x->curl, CURLOPT_SSLCERT_BLOB, x->certificate, x->certificate_len) &&
           set_blob(x->curl, CURLOPT_SSLKEY_BLOB, secret_view(x->key), secret_len(x->key)) &&
           set_blob(x->curl, CURLOPT_CAINFO_BLOB, x->ca, x->ca_len) && SET(CAPATH, NULL) &&
           SET(SSL_CTX_FUNCTION, keep_no_plaintext);
}

/* No proxy, whatever the environment says; no redirection; nothing that another program's settings change. */
static bool set_up_http(struct exchange *x)
{
    static const char *const lines[] = {"Accept: application/json", "Content-Type: application/json",
                                        "Expect:"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct curl_slist *longer = curl_slist_append(x->headers, lines[i]);
        if (longer == NULL)
            return false;
        x->headers = longer;
    }
    return SET(HTTPHEADER, x->headers) && SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(PROXY, "") &&
           SET(FOLLOWLOCATION, 0L) && SET(NOSIGNAL, 1L) && SET(TCP_KEEPALIVE, 1L) &&
           SET(ERRORBUFFER, x->why) && SET(WRITEFUNCTION, take_bytes) && SET(WRITEDATA, x) &&
           SET(XFERINFOFUNCTION, still_wanted) && SET(XFERINFODATA, x) && SET(NOPROGRESS, 0L);
}

static enum tg_code set_up(struct exchange *x, const struct etsi014_peer *peer, struct tg_error *err)
{
    size_t len = strlen(peer->url);
    TG_ENSURE(strncmp(peer->url, "https://", 8) == 0 && len > 8, err, TG_INVALID_ARGUMENT,
              "KME %.100s: the standard asks for https://host:port", peer->url);
    x->url = strndup(peer->url, peer->url[len - 1] == '/' ? len - 1 : len);
    x->body = malloc(ETSI014_BODY_MAX);
    TG_ENSURE(x->url != NULL && x->body != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for a KME");
    TG_TRY(read_files(x, peer, err));
    x->curl = curl_easy_init();
    TG_ENSURE(x->curl != NULL && set_up_tls(x) && set_up_http(x), err, TG_INTERNAL,
              "libcurl cannot be set up: it needs OpenSSL and version 7.85 or later");
    return TG_OK;
}

enum tg_code exchange_open(const struct etsi014_peer *peer, struct exchange **exchange, struct tg_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct exchange *x = calloc(1, sizeof *x);
    TG_ENSURE(x != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for a KME");
    pthread_mutex_init(&x->lock, NULL);
    monotonic_cond_init(&x->woken);
    enum tg_code code = set_up(x, peer, err);
    if (code == TG_OK)
        *exchange = x;
    else
        exchange_close(x);
    return code;
}

void exchange_close(struct exchange *x)
{
    if (x == NULL)
        return;
    curl_easy_cleanup(x->curl);
    curl_slist_free_all(x->headers);
    exchange_wipe(x);
    free(x->body);
    free(x->url);
    free(x->certificate);
    free(x->ca);
    secret_free(x->key);
    pthread_cond_destroy(&x->woken);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

void exchange_wipe(struct exchange *x)
{
    if (x->body != NULL)
        secret_wipe(x->body, x->len);
    x->len = 0;
}

void exchange_interrupt(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->interrupted = true;
    pthread_cond_broadcast(&x->woken);
    pthread_mutex_unlock(&x->lock);
}

/* ---- one attempt ---- */

static enum tg_code set_url(struct exchange *x, const struct exchange_question *q, struct tg_error *err)
{
    char url[URL_MAX];
    char *sae = curl_easy_escape(x->curl, q->sae, 0);
    TG_ENSURE(sae != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for a KME's URL");
    int len = snprintf(url, sizeof url, "%s/api/v1/keys/%s/%s%s%s", x->url, sae, q->call,
                       q->query[0] != '\0' ? "?" : "", q->query);
    curl_free(sae);
    TG_ENSURE(len > 0 && len < URL_MAX && SET(URL, url), err, TG_INVALID_ARGUMENT,
              "KME %.100s: URL or SAE id is too long", x->url);
    return TG_OK;
}

static bool set_question(struct exchange *x, const struct exchange_question *q)
{
    if (q->body == NULL)
        return SET(HTTPGET, 1L);
    return SET(POST, 1L) && SET(POSTFIELDSIZE, (long)q->body_len) && SET(POSTFIELDS, q->body);
}

static enum tg_code why_no_answer(const struct exchange *x, CURLcode rc, struct tg_error *err)
{
    const char *why = x->why[0] != '\0' ? x->why : curl_easy_strerror(rc);
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return tg_fail(err, TG_CANCELLED, "KME %.80s: interrupted", x->url);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return tg_fail(err, TG_DEADLINE_EXCEEDED, "KME %.80s does not answer in time", x->url);
    if (x->too_long)
        return tg_fail(err, TG_DATA_LOSS, "KME %.80s answers more than %d bytes", x->url, ETSI014_BODY_MAX);
    return tg_fail(err, TG_UNAVAILABLE, "KME %.80s cannot be asked: %.140s", x->url, why);
}

static enum tg_code attempt(struct exchange *x, const struct exchange_question *q, uint64_t deadline_ms,
                            long *status, struct tg_error *err)
{
    uint64_t now_ms = clock_now_ms();
    TG_ENSURE(now_ms < deadline_ms, err, TG_DEADLINE_EXCEEDED, "KME %.80s: no time is left to ask", x->url);
    exchange_wipe(x);
    x->too_long = false;
    x->why[0] = '\0';
    TG_TRY(set_url(x, q, err));
    TG_ENSURE(set_question(x, q) && SET(TIMEOUT_MS, (long)(deadline_ms - now_ms)), err, TG_INTERNAL,
              "libcurl refuses a question to KME %.80s", x->url);
    CURLcode rc = curl_easy_perform(x->curl);
    if (rc != CURLE_OK)
        return why_no_answer(x, rc, err);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, status);
    return TG_OK;
}

/* ---- all attempts ---- */

/* What a status other than 200 means to whoever wants keys. */
static enum tg_code code_of(long status, bool unknown_key)
{
    if (status == 503)
        return TG_RESOURCE_EXHAUSTED;
    if (status == 401)
        return TG_UNAUTHENTICATED;
    if (status == 400)
        return unknown_key ? TG_NOT_FOUND : TG_FAILED_PRECONDITION;
    return status >= 500 ? TG_UNAVAILABLE : TG_FAILED_PRECONDITION;
}

static enum tg_code refused(const struct exchange *x, const struct exchange_question *q, long status,
                            struct tg_error *err)
{
    char message[120];
    etsi014_error_decode(x->body, x->len, message, sizeof message);
    bool unknown_key = strcasecmp(message, ETSI014_KEYS_NOT_FOUND) == 0;
    return tg_fail(err, code_of(status, unknown_key), "KME %.80s refuses %s with status %ld%s%s", x->url,
                   q->call, status, message[0] != '\0' ? ": " : "", message);
}

/* A random part of a pause that doubles each time. False: interrupted, or the deadline lies before its end.
 */
static bool pause_before(struct exchange *x, unsigned attempts, uint64_t deadline_ms)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    uint64_t until_ms = clock_now_ms() + random % (uint32_t)(FIRST_PAUSE_MS << attempts);
    if (until_ms >= deadline_ms)
        return false;
    pthread_mutex_lock(&x->lock);
    while (!x->interrupted && monotonic_wait(&x->woken, &x->lock, until_ms))
        ;
    bool go_on = !x->interrupted;
    pthread_mutex_unlock(&x->lock);
    return go_on;
}

enum tg_code exchange_ask(struct exchange *x, const struct exchange_question *q, uint64_t deadline_ms,
                          struct exchange_answer *answer, struct tg_error *err)
{
    long status = 0;
    TG_TRY(attempt(x, q, deadline_ms, &status, err));
    for (unsigned attempts = 1; status == 503 && attempts < ATTEMPTS_MAX; attempts++) {
        if (!pause_before(x, attempts, deadline_ms))
            break;
        TG_TRY(attempt(x, q, deadline_ms, &status, err));
    }
    if (status != 200)
        return refused(x, q, status, err);
    *answer = (struct exchange_answer){.body = x->body, .len = x->len};
    return TG_OK;
}
