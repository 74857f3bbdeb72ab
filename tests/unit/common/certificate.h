/* Certificates made for one test run. */
#ifndef TG_TESTS_UNIT_COMMON_CERTIFICATE_H
#define TG_TESTS_UNIT_COMMON_CERTIFICATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

static inline void certificate_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Without an issuer: a CA that signs itself. With one: `alternative` names it, as "DNS:gateway.test". */
static inline X509 *certificate_make(const char *name, const char *alternative, EVP_PKEY *key, X509 *issuer,
                                     EVP_PKEY *issuer_key)
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
        certificate_extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    else
        certificate_extend(cert, issuer, NID_subject_alt_name, alternative);
    assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

#endif
