/* A CA and a gateway's certificate made for one test run, in a directory of its own. */
#ifndef TG_TESTS_UNIT_CLIENT_PKI_H
#define TG_TESTS_UNIT_CLIENT_PKI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/common/certificate.h"

struct pki {
    char dir[32];
    char ca[64], other_ca[64], certificate[64], key[64];
};

static inline void pki_write(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    int written =
        cert != NULL ? PEM_write_X509(f, cert) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    assert_int_equal(written, 1);
    fclose(f);
}

static inline void pki_make(struct pki *pki)
{
    snprintf(pki->dir, sizeof pki->dir, "/tmp/tg-client-XXXXXX");
    assert_non_null(mkdtemp(pki->dir));
    snprintf(pki->ca, sizeof pki->ca, "%s/ca.crt", pki->dir);
    snprintf(pki->other_ca, sizeof pki->other_ca, "%s/other-ca.crt", pki->dir);
    snprintf(pki->certificate, sizeof pki->certificate, "%s/gateway.crt", pki->dir);
    snprintf(pki->key, sizeof pki->key, "%s/gateway.key", pki->dir);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = certificate_make("CA", NULL, ca_key, NULL, ca_key);
    X509 *other = certificate_make("Other CA", NULL, key, NULL, key);
    X509 *cert = certificate_make("gateway", "IP:127.0.0.1", key, ca, ca_key);
    pki_write(pki->ca, ca, NULL);
    pki_write(pki->other_ca, other, NULL);
    pki_write(pki->certificate, cert, NULL);
    pki_write(pki->key, NULL, key);
    X509_free(ca);
    X509_free(other);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

static inline void pki_remove(const struct pki *pki)
{
    unlink(pki->ca);
    unlink(pki->other_ca);
    unlink(pki->certificate);
    unlink(pki->key);
    rmdir(pki->dir);
}

#endif
