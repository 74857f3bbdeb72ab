/* Who we are, and who may call. libmicrohttpd only asks callers for a certificate; here one is demanded, and
 * checked before the handshake ends (RFC 8446 4.4.2.4, RFC 5246 7.4.6). */
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/http/internal.h"

enum { PEM_MAX = 256 * 1024 };

static void text_cleanup(char **text)
{
    free(*text);
}

static gnutls_datum_t datum(const void *bytes, size_t len)
{
    gnutls_datum_t out = {.size = (unsigned)len};
    memcpy(&out.data, &bytes, sizeof out.data); /* GnuTLS does not write to it */
    return out;
}

static enum tg_code read_trust(gnutls_certificate_credentials_t to, const char *path, struct tg_error *err)
{
    TG_CLEANUP(text_cleanup) char *text = NULL;
    size_t len = 0;
    TG_TRY(file_read(path, PEM_MAX, &text, &len, err));
    gnutls_datum_t pem = datum(text, len);
    int count = gnutls_certificate_set_x509_trust_mem(to, &pem, GNUTLS_X509_FMT_PEM);
    TG_ENSURE(count > 0, err, TG_INVALID_ARGUMENT, "%s: not a PEM certificate", path);
    return TG_OK;
}

static enum tg_code read_pair(gnutls_certificate_credentials_t to, const struct rpc_tls *tls,
                              struct tg_error *err)
{
    TG_CLEANUP(text_cleanup) char *text = NULL;
    TG_CLEANUP(secret_cleanup) struct secret *key = NULL;
    size_t len = 0;
    TG_TRY(file_read(tls->certificate, PEM_MAX, &text, &len, err));
    TG_TRY(file_read_secret(tls->key, 0, &key, err));
    gnutls_datum_t pem = datum(text, len), key_pem = datum(secret_view(key), secret_len(key));
    int rc = gnutls_certificate_set_x509_key_mem(to, &pem, &key_pem, GNUTLS_X509_FMT_PEM);
    TG_ENSURE(rc >= 0, err, TG_INVALID_ARGUMENT, "%s: cannot be used with key %s: %s", tls->certificate,
              tls->key, gnutls_strerror(rc));
    return TG_OK;
}

static enum tg_code read_all(gnutls_certificate_credentials_t to, const struct rpc_tls *tls,
                             struct tg_error *err)
{
    TG_TRY(read_trust(to, tls->ca, err));
    return read_pair(to, tls, err);
}

enum tg_code http_credentials_read(const struct rpc_tls *tls, struct http_credentials **out,
                                   struct tg_error *err)
{
    TG_ENSURE(tls->certificate != NULL && tls->key != NULL && tls->ca != NULL, err, TG_INVALID_ARGUMENT,
              "certificate, key and ca must all be given for HTTP over TLS");
    struct http_credentials *credentials = calloc(1, sizeof *credentials);
    TG_ENSURE(credentials != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the HTTP server");
    atomic_init(&credentials->holders, 1);
    enum tg_code code = TG_RESOURCE_EXHAUSTED;
    if (gnutls_certificate_allocate_credentials(&credentials->certificate) == GNUTLS_E_SUCCESS)
        code = read_all(credentials->certificate, tls, err);
    else
        (void)tg_fail(err, code, "out of memory for the HTTP server");
    if (code == TG_OK)
        *out = credentials;
    else
        http_credentials_let_go(credentials);
    return code;
}

void http_credentials_hold(struct http_credentials *credentials)
{
    atomic_fetch_add(&credentials->holders, 1);
}

void http_credentials_let_go(struct http_credentials *credentials)
{
    if (credentials == NULL || atomic_fetch_sub(&credentials->holders, 1) != 1)
        return;
    if (credentials->certificate != NULL)
        gnutls_certificate_free_credentials(credentials->certificate);
    free(credentials);
}

bool http_credentials_use(struct http_credentials *credentials, gnutls_session_t session)
{
    static char client[] = GNUTLS_KP_TLS_WWW_CLIENT;
    static gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                            .data = (unsigned char *)client};
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials->certificate) != GNUTLS_E_SUCCESS)
        return false;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert2(session, &purpose, 1, 0);
    return true;
}

int http_no_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int ca_count,
                        const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **cert,
                        unsigned *cert_count, gnutls_privkey_t *key)
{
    (void)session;
    (void)ca;
    (void)ca_count;
    (void)algorithms;
    (void)algorithm_count;
    (void)cert;
    (void)cert_count;
    (void)key;
    return -1;
}

/* ---- the caller ---- */

gnutls_session_t http_session(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL ? info->tls_session : NULL;
}

static bool import_peer(gnutls_session_t session, gnutls_x509_crt_t *out)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(out) != GNUTLS_E_SUCCESS)
        return false;
    if (gnutls_x509_crt_import(*out, &chain[0], GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS)
        return true;
    gnutls_x509_crt_deinit(*out);
    return false;
}

/* A name with a NUL in it must not pass for its first part. */
static bool is_whole(const char *name, size_t len)
{
    return memchr(name, '\0', len) == NULL;
}

void http_session_peer(gnutls_session_t session, char out[HTTP_PEER_MAX + 1])
{
    gnutls_x509_crt_t peer;
    size_t len = HTTP_PEER_MAX + 1;
    out[0] = '\0';
    if (session == NULL || !import_peer(session, &peer))
        return;
    int rc = gnutls_x509_crt_get_dn_by_oid(peer, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &len);
    if (rc != GNUTLS_E_SUCCESS || !is_whole(out, len))
        out[0] = '\0';
    gnutls_x509_crt_deinit(peer);
}

static bool has_alternative_name(gnutls_x509_crt_t peer, const char *name)
{
    bool found = false;
    for (unsigned i = 0; !found; i++) {
        char other[HTTP_PEER_MAX + 1];
        size_t len = sizeof other;
        int type = gnutls_x509_crt_get_subject_alt_name(peer, i, other, &len, NULL);
        if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER)
            break;
        found = (type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_URI) && strlen(name) == len &&
                memcmp(name, other, len) == 0;
    }
    return found;
}

bool http_request_peer_is(const struct http_request *request, const char *name)
{
    gnutls_session_t session = http_session(request->connection);
    gnutls_x509_crt_t peer;
    if (session == NULL || name[0] == '\0')
        return false;
    if (strcmp(request->peer, name) == 0)
        return true;
    if (!import_peer(session, &peer))
        return false;
    bool found = has_alternative_name(peer, name);
    gnutls_x509_crt_deinit(peer);
    return found;
}
