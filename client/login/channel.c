/* Step 10, first half: the connection channel. The first TLS ends here; a second one starts on the same
 * descriptor, with a PSK from the quantum key and fresh Diffie-Hellman. The exchange is lock-step, so no byte
 * of it is in flight. */
#include "common/protocol/channel.h"
#include "client/login/handshake.h"

static enum tg_code channel_new(struct handshake *h, struct tg_error *err)
{
    SSL_free(h->wire.ssl);
    h->wire.ssl = SSL_new(h->request->tls->channel);
    TG_ENSURE(h->wire.ssl != NULL && SSL_set_fd(h->wire.ssl, h->wire.fd) == 1, err, TG_RESOURCE_EXHAUSTED,
              "out of memory");
    /* The session's data comes many records at a time: one read() for several of them, into a buffer that
     * stays. */
    SSL_clear_mode(h->wire.ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_set_default_read_buffer_len(h->wire.ssl, LOGIN_CHANNEL_READ_BUFFER);
    SSL_set_read_ahead(h->wire.ssl, 1);
    return channel_set_psk(h->wire.ssl, h->schedule.psk, h->th_login, err);
}

enum tg_code channel_build(struct handshake *h, struct tg_error *err)
{
    TG_TRY(channel_new(h, err));
    enum tg_code code = wire_tls_handshake(&h->wire, err);
    bool failed = code == TG_UNAUTHENTICATED || (code == TG_OK && !channel_is_protected(h->wire.ssl));
    if (failed)
        return handshake_fail(
            h, EXIT_GATEWAY_UNPROVEN, err, TG_UNAUTHENTICATED,
            "the gateway could not build the channel with the quantum key: somebody may be in between. "
            "Your password was not sent; tell your operator");
    return code;
}
