#include "tools/audit-verify/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "services/audit/log/tile.h"

enum { WAIT_S = 60, PATH_LEN = 4096 };

struct mirror {
    const struct mirror_options *options;
    char *host, *port, *prefix;
    int use_tls;
    SSL_CTX *tls;
    STACK_OF(CONF_VALUE) * headers;
    OSSL_HTTP_REQ_CTX *connection; /* kept from one request to the next */
};

bool mirror_is_url(const char *text)
{
    return strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
}

static enum tg_code failed(struct tg_error *err, enum tg_code code, const char *doing, const char *what)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long error = ERR_peek_last_error_data(&data, &flags);
    const char *why = error != 0 ? ERR_reason_error_string(error) : NULL;
    tg_fail(err, code, "%s %s: %s %.100s", doing, what, why != NULL ? why : "no answer",
            data != NULL && (flags & ERR_TXT_STRING) != 0 ? data : "");
    ERR_clear_error();
    return code;
}

/* ---- the connection ---- */

/* The certificate must name the server as the address does. */
static bool expect_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* For OSSL_HTTP_transfer: puts TLS on the connection, and takes it off again. */
static BIO *tls_on_and_off(BIO *bio, void *arg, int connect, int detail)
{
    struct mirror *mirror = arg;
    if (detail == 0)
        return bio;
    if (connect == 0) {
        BIO *below = BIO_pop(bio);
        BIO_free(bio);
        return below;
    }
    SSL *ssl = SSL_new(mirror->tls);
    BIO *above = BIO_new(BIO_f_ssl());
    if (ssl == NULL || above == NULL || !expect_host(ssl, mirror->host)) {
        SSL_free(ssl);
        BIO_free(above);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    BIO_set_ssl(above, ssl, BIO_CLOSE);
    return BIO_push(above, bio);
}

static enum tg_code set_up_tls(struct mirror *mirror, struct tg_error *err)
{
    const struct mirror_options *options = mirror->options;
    TG_ENSURE(options->ca != NULL, err, TG_INVALID_ARGUMENT,
              "--ca is missing: the CA of the server's certificate");
    mirror->tls = SSL_CTX_new(TLS_client_method());
    if (mirror->tls == NULL || SSL_CTX_set_min_proto_version(mirror->tls, TLS1_2_VERSION) != 1)
        return failed(err, TG_UNAVAILABLE, "cannot set up", "TLS");
    SSL_CTX_set_verify(mirror->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(mirror->tls, SSL_MODE_AUTO_RETRY);
    if (SSL_CTX_load_verify_file(mirror->tls, options->ca) != 1)
        return failed(err, TG_NOT_FOUND, "cannot use", options->ca);
    if (options->cert != NULL &&
        (SSL_CTX_use_certificate_chain_file(mirror->tls, options->cert) != 1 || options->cert_key == NULL ||
         SSL_CTX_use_PrivateKey_file(mirror->tls, options->cert_key, SSL_FILETYPE_PEM) != 1))
        return failed(err, TG_NOT_FOUND, "cannot use", options->cert);
    return TG_OK;
}

static enum tg_code add_token(struct mirror *mirror, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *token = NULL;
    char value[512];
    if (mirror->options->token_file == NULL)
        return TG_OK;
    TG_TRY(file_read_line_secret(mirror->options->token_file, &token, err));
    int len = snprintf(value, sizeof value, "Bearer %.*s", (int)secret_len(token),
                       (const char *)secret_view(token));
    bool good = len > 0 && (size_t)len < sizeof value &&
                X509V3_add_value("Authorization", value, &mirror->headers) == 1;
    secret_wipe(value, sizeof value);
    TG_ENSURE(good, err, TG_INVALID_ARGUMENT, "%s: no token", mirror->options->token_file);
    return TG_OK;
}

static enum tg_code open_mirror(struct mirror *mirror, struct tg_error *err)
{
    char *path = NULL;
    if (OSSL_HTTP_parse_url(mirror->options->url, &mirror->use_tls, NULL, &mirror->host, &mirror->port, NULL,
                            &path, NULL, NULL) != 1)
        return failed(err, TG_INVALID_ARGUMENT, "not an address:", mirror->options->url);
    size_t len = strlen(path);
    if (len > 0 && path[len - 1] == '/')
        path[len - 1] = '\0';
    mirror->prefix = path;
    if (mirror->use_tls != 0)
        TG_TRY(set_up_tls(mirror, err));
    TG_TRY(add_token(mirror, err));
    TG_ENSURE(mkdir(mirror->options->directory, 0700) == 0 || errno == EEXIST, err, TG_NOT_FOUND,
              "cannot make %s: %s", mirror->options->directory, strerror(errno));
    return TG_OK;
}

static void close_mirror(struct mirror *mirror)
{
    OSSL_HTTP_close(mirror->connection, 1);
    sk_CONF_VALUE_pop_free(mirror->headers, X509V3_conf_free);
    SSL_CTX_free(mirror->tls);
    OPENSSL_free(mirror->host);
    OPENSSL_free(mirror->port);
    OPENSSL_free(mirror->prefix);
}

/* ---- files ---- */

static enum tg_code read_body(BIO *from, size_t max, bool all, char **bytes, size_t *len,
                              struct tg_error *err)
{
    *bytes = malloc(max + 1);
    TG_ENSURE(*bytes != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    for (*len = 0; *len < max;) {
        int got = BIO_read(from, *bytes + *len, (int)(max - *len));
        if (got <= 0 && !BIO_should_retry(from))
            break;
        *len += got > 0 ? (size_t)got : 0;
    }
    if (!all || *len == max)
        return TG_OK;
    free(*bytes);
    return tg_fail(err, TG_UNAVAILABLE, "the server broke off in the middle of an answer");
}

static BIO *ask(struct mirror *mirror, const char *path, size_t max)
{
    return OSSL_HTTP_transfer(&mirror->connection, mirror->host, mirror->port, path, mirror->use_tls, "",
                              NULL, NULL, NULL, mirror->use_tls != 0 ? tls_on_and_off : NULL, mirror, 0,
                              mirror->headers, NULL, NULL, NULL, 0, max, WAIT_S, 1);
}

/* *bytes is the caller's to free(). */
static enum tg_code get(struct mirror *mirror, const char *path, size_t max, char **bytes, size_t *len,
                        struct tg_error *err)
{
    char whole[PATH_LEN];
    bool was_kept = mirror->connection != NULL;
    snprintf(whole, sizeof whole, "%s/%s", mirror->prefix, path);
    BIO *answer = ask(mirror, whole, max);
    if (answer == NULL && was_kept) /* the server may have ended it meanwhile */
        answer = ask(mirror, whole, max);
    if (answer == NULL)
        return failed(err, TG_UNAVAILABLE, "cannot fetch", path);
    /* What comes is read from the connection itself: so many bytes, or all there are if it is not kept. */
    size_t wanted = mirror->connection != NULL ? OSSL_HTTP_REQ_CTX_get_resp_len(mirror->connection) : max;
    enum tg_code code = wanted <= max
                            ? read_body(answer, wanted, mirror->connection != NULL, bytes, len, err)
                            : tg_fail(err, TG_DATA_LOSS, "%s is larger than such a file can be", path);
    BIO_free_all(answer);
    return code;
}

static enum tg_code keep(const struct mirror *mirror, const char *path, const char *bytes, size_t len,
                         struct tg_error *err)
{
    char whole[PATH_LEN];
    size_t start = (size_t)snprintf(whole, sizeof whole, "%s/", mirror->options->directory);
    snprintf(whole + start, sizeof whole - start, "%s", path);
    for (char *slash = strchr(whole + start, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        TG_ENSURE(mkdir(whole, 0700) == 0 || errno == EEXIST, err, TG_UNAVAILABLE, "cannot make %s: %s",
                  whole, strerror(errno));
        *slash = '/';
    }
    return file_replace(whole, bytes, len, err);
}

static bool is_here(const struct mirror *mirror, const char *path)
{
    char whole[PATH_LEN];
    snprintf(whole, sizeof whole, "%s/%s", mirror->options->directory, path);
    return access(whole, F_OK) == 0;
}

static enum tg_code copy_tile(struct mirror *mirror, const struct tile *tile, struct tg_error *err)
{
    char path[TILE_PATH_MAX], *bytes = NULL;
    size_t len = 0;
    tile_path(tile, path);
    if (is_here(mirror, path))
        return TG_OK;
    TG_TRY(get(mirror, path, tile->level == TILE_ENTRIES ? BUNDLE_MAX : TILE_WIDTH * MERKLE_HASH_LEN, &bytes,
               &len, err));
    enum tg_code code = keep(mirror, path, bytes, len, err);
    free(bytes);
    return code;
}

static enum tg_code copy_tiles(struct mirror *mirror, uint64_t size, struct tg_error *err)
{
    for (int level = TILE_ENTRIES; level < TILE_LEVELS; level++) {
        for (uint64_t index = 0;; index++) {
            struct tile tile = tile_of(size, level, index);
            if (tile.width == 0)
                break;
            TG_TRY(copy_tile(mirror, &tile, err));
        }
    }
    return TG_OK;
}

static enum tg_code read_older(const struct mirror *mirror, char **older, size_t *len, struct tg_error *err)
{
    char path[PATH_LEN];
    snprintf(path, sizeof path, "%s/checkpoint", mirror->options->directory);
    if (access(path, F_OK) != 0)
        return TG_OK;
    return file_read(path, NOTE_MAX, older, len, err);
}

static enum tg_code fetch(struct mirror *mirror, const struct note_keys *keys, char **older,
                          size_t *older_len, struct tg_error *err)
{
    char *note = NULL;
    size_t len = 0;
    struct checkpoint checkpoint;
    TG_TRY(open_mirror(mirror, err));
    TG_TRY(read_older(mirror, older, older_len, err));
    TG_TRY(get(mirror, "checkpoint", NOTE_MAX, &note, &len, err));
    enum tg_code code = checkpoint_open(note, len, keys, &checkpoint, err);
    if (code == TG_OK)
        code = copy_tiles(mirror, checkpoint.size, err);
    if (code == TG_OK)
        code = keep(mirror, "checkpoint", note, len, err);
    free(note);
    return code;
}

enum tg_code mirror_fetch(const struct mirror_options *options, const struct note_keys *keys, char **older,
                          size_t *older_len, struct tg_error *err)
{
    struct mirror mirror = {.options = options};
    *older = NULL;
    *older_len = 0;
    enum tg_code code = fetch(&mirror, keys, older, older_len, err);
    close_mirror(&mirror);
    return code;
}
