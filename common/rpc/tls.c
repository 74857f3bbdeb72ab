#include "common/rpc/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"

enum { PEM_MAX = 256 * 1024 };

/* What the files hold: certificates as NUL-ended text, the key locked and wiped. */
struct pem_set {
    char *certificate;
    char *ca;
    struct secret *key; /* NUL-ended */
};

static void pem_set_cleanup(struct pem_set *set)
{
    free(set->certificate);
    free(set->ca);
    secret_free(set->key);
}

static void x509_cleanup(X509 **certificate)
{
    X509_free(*certificate);
}
static void pkey_cleanup(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static void bio_cleanup(BIO **bio)
{
    BIO_free(*bio);
}

static enum tg_code read_text(const char *path, char **out, struct tg_error *err)
{
    char *text = NULL;
    size_t len = 0;
    TG_TRY(file_read(path, PEM_MAX, &text, &len, err));
    if (len == 0 || memchr(text, '\0', len) != NULL) {
        free(text);
        return tg_fail(err, TG_INVALID_ARGUMENT, "%s: empty or not PEM", path);
    }
    *out = text;
    return TG_OK;
}

static enum tg_code read_key(const char *path, struct secret **out, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *raw = NULL;
    TG_TRY(file_read_secret(path, 0, &raw, err));
    size_t len = secret_len(raw);
    struct secret *text = secret_new(len + 1);
    TG_ENSURE(text != NULL, err, TG_RESOURCE_EXHAUSTED, "%s: out of locked memory", path);
    memcpy(secret_bytes(text), secret_view(raw), len);
    *out = text;
    return TG_OK;
}

static X509 *parse_certificate(const char *text)
{
    TG_CLEANUP(bio_cleanup) BIO *bio = BIO_new_mem_buf(text, -1);
    return bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static int no_password(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* mbedTLS says little about why it refuses a file, and never compares key and certificate: OpenSSL does. */
static enum tg_code check_pair(const struct rpc_tls *tls, const struct pem_set *set, struct tg_error *err)
{
    TG_CLEANUP(x509_cleanup) X509 *certificate = parse_certificate(set->certificate);
    TG_CLEANUP(x509_cleanup) X509 *ca = parse_certificate(set->ca);
    TG_CLEANUP(bio_cleanup) BIO *bio = BIO_new_mem_buf(secret_view(set->key), (int)secret_len(set->key) - 1);
    TG_CLEANUP(pkey_cleanup)
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    ERR_clear_error();
    TG_ENSURE(certificate != NULL, err, TG_INVALID_ARGUMENT, "%s: not a PEM certificate", tls->certificate);
    TG_ENSURE(ca != NULL, err, TG_INVALID_ARGUMENT, "%s: not a PEM certificate", tls->ca);
    TG_ENSURE(key != NULL, err, TG_INVALID_ARGUMENT, "%s: not a PEM private key without password", tls->key);
    TG_ENSURE(X509_check_private_key(certificate, key) == 1, err, TG_INVALID_ARGUMENT,
              "%s: not the key of certificate %s", tls->key, tls->certificate);
    return TG_OK;
}

static enum tg_code read_files(const struct rpc_tls *tls, struct pem_set *set, struct tg_error *err)
{
    TG_ENSURE(tls->certificate != NULL && tls->key != NULL && tls->ca != NULL, err, TG_INVALID_ARGUMENT,
              "certificate, key and ca must be given for a tls+tcp:// address");
    TG_TRY(read_text(tls->certificate, &set->certificate, err));
    TG_TRY(read_text(tls->ca, &set->ca, err));
    TG_TRY(read_key(tls->key, &set->key, err));
    return check_pair(tls, set, err);
}

static enum tg_code apply(nng_tls_config *config, const struct rpc_tls *tls, const struct pem_set *set,
                          const char *server_name, struct tg_error *err)
{
    int rv = nng_tls_config_own_cert(config, set->certificate, (const char *)secret_view(set->key), NULL);
    TG_ENSURE(rv == 0, err, TG_INVALID_ARGUMENT, "%s: cannot be used with key %s: %s", tls->certificate,
              tls->key, nng_strerror(rv));
    rv = nng_tls_config_ca_chain(config, set->ca, NULL);
    TG_ENSURE(rv == 0, err, TG_INVALID_ARGUMENT, "%s: cannot be used as CA: %s", tls->ca, nng_strerror(rv));
    rv = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED);
    if (rv == 0)
        rv = nng_tls_config_version(config, NNG_TLS_1_2, NNG_TLS_1_3);
    if (rv == 0 && server_name != NULL)
        rv = nng_tls_config_server_name(config, server_name);
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "TLS cannot be set up: %s", nng_strerror(rv));
    return TG_OK;
}

enum tg_code rpc_tls_config(const struct rpc_tls *tls, const char *server_name, nng_tls_config **out,
                            struct tg_error *err)
{
    TG_CLEANUP(pem_set_cleanup) struct pem_set set = {0};
    TG_TRY(read_files(tls, &set, err));
    nng_tls_config *config = NULL;
    int rv = nng_tls_config_alloc(&config, server_name != NULL ? NNG_TLS_MODE_CLIENT : NNG_TLS_MODE_SERVER);
    TG_ENSURE(rv == 0, err, TG_INTERNAL, "TLS cannot be set up: %s", nng_strerror(rv));
    enum tg_code code = apply(config, tls, &set, server_name, err);
    if (code != TG_OK) {
        nng_tls_config_free(config);
        return code;
    }
    *out = config;
    return TG_OK;
}
