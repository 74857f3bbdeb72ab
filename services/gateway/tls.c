#include "services/gateway/tls.h"

#include <openssl/err.h>

#include "common/protocol/channel.h"
#include "services/gateway/wire.h"

enum tg_code tls_begin(struct connection *c, SSL_CTX *ctx, struct tg_error *err)
{
    TG_INVARIANT(c->ssl == NULL);
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL)
        return channel_fail(err, TG_RESOURCE_EXHAUSTED, "cannot start TLS");
    c->ssl = ssl;
    SSL_set_accept_state(ssl);
    return wire_attach(c, ssl, err);
}

static enum tls_result result_of(struct connection *c, int rc, const char *what, struct tg_error *err)
{
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: /* cannot be: the wire takes everything */
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL: /* reset: the client is gone */
        return TLS_END;
    default:
        break;
    }
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return TLS_END;
    }
    channel_fail(err, TG_INVALID_ARGUMENT, what);
    return TLS_BROKEN;
}

enum tls_result tls_handshake(struct connection *c, struct tg_error *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1)
        return TLS_DONE;
    return result_of(c, rc, c->state == ORDER_TLS ? "first TLS handshake" : "channel's TLS handshake", err);
}

enum tls_result tls_read(struct connection *c, void *buffer, size_t size, size_t *len, struct tg_error *err)
{
    ERR_clear_error();
    int rc = SSL_read_ex(c->ssl, buffer, size, len);
    return rc == 1 ? TLS_DONE : result_of(c, rc, "reading from the client", err);
}

void tls_write(struct connection *c, const void *bytes, size_t len)
{
    size_t written;
    ERR_clear_error();
    SSL_write_ex(c->ssl, bytes, len, &written);
}

void tls_bye(struct connection *c)
{
    ERR_clear_error();
    if (c->ssl != NULL && SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
}

bool tls_has_pending(const struct connection *c)
{
    return SSL_has_pending(c->ssl) == 1;
}

void tls_end(struct connection *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}
