/* A CA made for one test run, and what it signs: KMEs and SAEs. */
#ifndef TG_TESTS_ETSI014_PKI_H
#define TG_TESTS_ETSI014_PKI_H

#include "../client/pki.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/etsi014/client.h"

struct authority {
    char dir[48];
    char ca[64];
    X509 *cert;
    EVP_PKEY *key;
};

/* Of one test: paths live until it ends. */
struct identity {
    char certificate[96], key[96];
};

static inline void authority_open(struct authority *a)
{
    snprintf(a->dir, sizeof a->dir, "/tmp/tg-etsi014-XXXXXX");
    assert_non_null(mkdtemp(a->dir));
    snprintf(a->ca, sizeof a->ca, "%s/ca.crt", a->dir);
    a->key = EVP_EC_gen("P-256");
    a->cert = certificate_make("test CA", NULL, a->key, NULL, a->key);
    pki_write(a->ca, a->cert, NULL);
}

static inline void authority_close(struct authority *a)
{
    DIR *dir = opendir(a->dir);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(a->dir);
    X509_free(a->cert);
    EVP_PKEY_free(a->key);
}

/* A certificate of that common name, for 127.0.0.1. */
static inline struct identity authority_issue(const struct authority *a, const char *name)
{
    struct identity id;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certificate_make(name, "IP:127.0.0.1", key, a->cert, a->key);
    snprintf(id.certificate, sizeof id.certificate, "%s/%s.crt", a->dir, name);
    snprintf(id.key, sizeof id.key, "%s/%s.key", a->dir, name);
    pki_write(id.certificate, cert, NULL);
    pki_write(id.key, NULL, key);
    assert_int_equal(chmod(id.key, 0600), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return id;
}

#endif
