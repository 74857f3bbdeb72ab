/* A CA and a gateway's certificate made for one test run, in a directory of its own. */
#ifndef TG_TESTS_UNIT_CLIENT_PKI_H
#define TG_TESTS_UNIT_CLIENT_PKI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pki {
    char dir[32];
    char ca[64], other_ca[64], certificate[64], key[64];
};

static inline void pki_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline X509 *pki_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *cert = X509_new();
    assert_non_null(cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer == NULL ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject);
    if (issuer == NULL)
        pki_extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    else
        pki_extend(cert, issuer, NID_subject_alt_name, "IP:127.0.0.1");
    assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

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
    X509 *ca = pki_certificate("CA", ca_key, NULL, ca_key);
    X509 *other = pki_certificate("Other CA", key, NULL, key);
    X509 *cert = pki_certificate("gateway", key, ca, ca_key);
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
