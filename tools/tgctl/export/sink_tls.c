/* A collector over TLS, RFC 5425: each message after its length in decimal and a space. Syslog has no
 * acknowledgements; that all has arrived is known when the collector ends TLS in answer to our end of it (RFC
 * 5425 4.4), and not before. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tools/tgctl/export/sink.h"
#include "tools/tgctl/export/syslog.h"

enum { TALK_TIMEOUT_S = 30 };

struct tls_sink {
    struct sink base;
    SSL_CTX *ctx;
    BIO *bio; /* TLS over TCP */
    char host[256];
};

static struct tls_sink *of(struct sink *sink)
{
    return (struct tls_sink *)sink;
}

static enum tg_code failed(struct tg_error *err, const char *doing)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : "the connection broke";
    ERR_clear_error();
    return tg_fail(err, TG_UNAVAILABLE, "%s: %s", doing, why != NULL ? why : "TLS failed");
}

static enum tg_code put(struct sink *sink, const char *line, struct tg_error *err)
{
    const struct tls_sink *tls = of(sink);
    char *message = NULL, frame[24];
    size_t len = 0;
    TG_TRY(syslog_message(line, tls->host, &message, &len, err));
    int head = snprintf(frame, sizeof frame, "%zu ", len);
    bool sent =
        BIO_write(tls->bio, frame, head) == head && BIO_write(tls->bio, message, (int)len) == (int)len;
    free(message);
    return sent ? TG_OK : failed(err, "the collector takes nothing");
}

static enum tg_code flush(struct sink *sink, bool *settled, struct tg_error *err)
{
    *settled = false;
    return BIO_flush(of(sink)->bio) == 1 ? TG_OK : failed(err, "the collector takes nothing");
}

static enum tg_code finish(struct sink *sink, struct tg_error *err)
{
    SSL *ssl = NULL;
    char nothing[256];
    BIO_get_ssl(of(sink)->bio, &ssl);
    if (SSL_shutdown(ssl) == 0)
        while (SSL_read(ssl, nothing, sizeof nothing) > 0)
            ;
    TG_ENSURE((SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) != 0, err, TG_UNAVAILABLE,
              "the collector did not confirm the end: what was sent last may be missing there");
    return TG_OK;
}

static uint64_t mark(const struct sink *sink)
{
    (void)sink;
    return SINK_NO_MARK;
}

static void close_tls(struct sink *sink)
{
    BIO_free_all(of(sink)->bio);
    SSL_CTX_free(of(sink)->ctx);
    free(sink);
}

static const struct sink_ops tls_ops = {put, flush, finish, mark, close_tls};

static enum tg_code make_context(struct tls_sink *tls, const struct sink_options *options,
                                 struct tg_error *err)
{
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (tls->ctx == NULL || SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1)
        return failed(err, "TLS cannot be set up");
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_file(tls->ctx, options->ca) != 1)
        return failed(err, options->ca);
    if (options->cert != NULL && (SSL_CTX_use_certificate_chain_file(tls->ctx, options->cert) != 1 ||
                                  SSL_CTX_use_PrivateKey_file(tls->ctx, options->key, SSL_FILETYPE_PEM) != 1))
        return failed(err, options->cert);
    return TG_OK;
}

/* "host:port" or "[::1]:port": the name that its certificate must have. */
static void name_of(const char *to, char name[256])
{
    const char *colon = strrchr(to, ':');
    size_t len = colon != NULL ? (size_t)(colon - to) : strlen(to);
    size_t bracket = len >= 2 && to[0] == '[' && to[len - 1] == ']' ? 1 : 0;
    snprintf(name, 256, "%.*s", (int)(len - 2 * bracket), to + bracket);
}

static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static void bound_waiting(BIO *bio)
{
    const struct timeval wait = {.tv_sec = TALK_TIMEOUT_S};
    int fd = -1;
    if (BIO_get_fd(bio, &fd) < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}

static enum tg_code connect_to(struct tls_sink *tls, const char *to, struct tg_error *err)
{
    SSL *ssl = NULL;
    char name[256];
    name_of(to, name);
    tls->bio = BIO_new_ssl_connect(tls->ctx);
    if (tls->bio == NULL)
        return failed(err, "TLS cannot be set up");
    BIO_get_ssl(tls->bio, &ssl);
    BIO_set_conn_hostname(tls->bio, to);
    if (!expect_name(ssl, name))
        return failed(err, to);
    if (BIO_do_connect(BIO_find_type(tls->bio, BIO_TYPE_CONNECT)) != 1) /* TCP alone */
        return failed(err, to);
    bound_waiting(tls->bio);
    return BIO_do_handshake(tls->bio) == 1 ? TG_OK : failed(err, to);
}

enum tg_code sink_tls_open(const struct sink_options *options, struct sink **sink, struct tg_error *err)
{
    TG_ENSURE(options->ca != NULL, err, TG_INVALID_ARGUMENT,
              "--ca is missing: the CA of the collector's certificate");
    TG_ENSURE((options->cert != NULL) == (options->key != NULL), err, TG_INVALID_ARGUMENT,
              "--cert and --key go together");
    struct tls_sink *tls = calloc(1, sizeof *tls);
    TG_ENSURE(tls != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    tls->base.ops = &tls_ops;
    if (gethostname(tls->host, sizeof tls->host - 1) != 0 || tls->host[0] == '\0')
        strcpy(tls->host, "-");
    enum tg_code code = make_context(tls, options, err);
    if (code == TG_OK)
        code = connect_to(tls, options->to + strlen("tls:"), err);
    if (code == TG_OK)
        *sink = &tls->base;
    else
        close_tls(&tls->base);
    return code;
}
