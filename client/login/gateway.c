/* Before step 1: the connection to the gateway and its first TLS. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "client/login/handshake.h"
#include "common/protocol/channel.h"

/* The certificate must be for the very name or address that the user gave. Names also go into SNI (RFC 6066
 * 3), addresses must not. */
static bool expect_host(SSL *ssl, const char *host)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static enum tg_code tls_new(struct handshake *h, struct tg_error *err)
{
    h->wire.ssl = SSL_new(h->request->tls->gateway);
    TG_ENSURE(h->wire.ssl != NULL && SSL_set_fd(h->wire.ssl, h->wire.fd) == 1, err, TG_RESOURCE_EXHAUSTED,
              "out of memory");
    TG_ENSURE(expect_host(h->wire.ssl, h->request->host), err, TG_INVALID_ARGUMENT,
              "%s is neither a host name nor an address", h->request->host);
    return TG_OK;
}

enum tg_code gateway_connect(struct handshake *h, struct tg_error *err)
{
    TG_TRY(wire_connect(&h->wire, h->request->host, h->request->port, err));
    TG_TRY(tls_new(h, err));
    enum tg_code code = wire_tls_handshake(&h->wire, err);
    long verdict = SSL_get_verify_result(h->wire.ssl);
    if (verdict != X509_V_OK)
        return handshake_fail(
            h, EXIT_CERTIFICATE, err, TG_UNAUTHENTICATED,
            "the gateway's certificate is not trusted: %s. Is it the right gateway, and does --ca name "
            "the file that signed its certificate?",
            X509_verify_cert_error_string(verdict));
    if (code == TG_UNAUTHENTICATED)
        h->exit = EXIT_PROTOCOL;
    TG_TRY(code);
    return channel_exporter(h->wire.ssl, h->exporter, err);
}
