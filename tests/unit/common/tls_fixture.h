/* Two TLS ends over a BIO pair, and certificates made for the occasion. */
#ifndef TG_TESTS_UNIT_COMMON_TLS_FIXTURE_H
#define TG_TESTS_UNIT_COMMON_TLS_FIXTURE_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <unistd.h>

#include "common/protocol/channel.h"
#include "tests/unit/common/certificate.h"
#include "tests/unit/common/hex.h"

static char dir[] = "/tmp/tg-channel-XXXXXX";
static char ca_path[64], other_ca_path[64], cert_path[64], key_path[64], locked_key_path[64],
    other_key_path[64];

/* ---- certificates ---- */

static inline void write_certificate(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

static inline void write_key(const char *path, EVP_PKEY *key, const char *passphrase)
{
    union {
        const char *in;
        void *out;
    } phrase = {.in = passphrase};
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(
        PEM_write_PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL, phrase.out), 1);
    fclose(f);
}

static inline int make_pki(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(ca_path, sizeof ca_path, "%s/ca.crt", dir);
    snprintf(other_ca_path, sizeof other_ca_path, "%s/other-ca.crt", dir);
    snprintf(cert_path, sizeof cert_path, "%s/gateway.crt", dir);
    snprintf(key_path, sizeof key_path, "%s/gateway.key", dir);
    snprintf(locked_key_path, sizeof locked_key_path, "%s/locked.key", dir);
    snprintf(other_key_path, sizeof other_key_path, "%s/other.key", dir);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *key = EVP_RSA_gen(2048); /* would do for TLS 1.2 with X25519, too: see who refuses that */
    X509 *ca = certificate_make("CA", NULL, ca_key, NULL, ca_key);
    X509 *other = certificate_make("Other CA", NULL, key, NULL, key);
    X509 *cert = certificate_make("gateway.test", "DNS:gateway.test", key, ca, ca_key);
    write_certificate(ca_path, ca);
    write_certificate(other_ca_path, other);
    write_certificate(cert_path, cert);
    write_key(key_path, key, NULL);
    write_key(locked_key_path, key, "passphrase");
    write_key(other_key_path, ca_key, NULL);
    X509_free(ca);
    X509_free(other);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return 0;
}

static inline int remove_pki(void **state)
{
    (void)state;
    const char *const paths[] = {ca_path,  other_ca_path,   cert_path,
                                 key_path, locked_key_path, other_key_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        unlink(paths[i]);
    return rmdir(dir);
}

/* ---- two ends ---- */

struct pair {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    struct secret *server_psk, *client_psk;
};

static inline void connect_ends(struct pair *p)
{
    BIO *a = NULL;
    BIO *b = NULL;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    p->server = SSL_new(p->server_ctx);
    p->client = SSL_new(p->client_ctx);
    SSL_set_bio(p->server, a, a);
    SSL_set_bio(p->client, b, b);
    SSL_set_accept_state(p->server);
    SSL_set_connect_state(p->client);
}

/* Runs both ends until neither gets on. True: both say that the handshake is complete. */
static inline bool handshake(struct pair *p)
{
    ERR_clear_error();
    for (int i = 0; i < 10; i++) {
        int c = SSL_do_handshake(p->client);
        ERR_clear_error();
        int s = SSL_do_handshake(p->server);
        ERR_clear_error();
        if (c == 1 && s == 1)
            return true;
    }
    return false;
}

static inline void end(struct pair *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->server_ctx);
    SSL_CTX_free(p->client_ctx);
    secret_free(p->server_psk);
    secret_free(p->client_psk);
}

static inline void assert_nobody_in(struct pair *p)
{
    assert_false(handshake(p));
    assert_false(channel_is_protected(p->server));
    assert_false(channel_is_protected(p->client));
    end(p);
}

#endif
