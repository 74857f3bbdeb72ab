/* Step 10: the connection channel, a second TLS handshake on the same socket with a key from the quantum key.
 * From here on everything, data included, is protected by the quantum key and by fresh Diffie-Hellman. */
#include "common/protocol/channel.h"

#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"
#include "services/gateway/tls.h"
#include "services/gateway/wire.h"

/* The exchange is lock-step here: the client has nothing to say before it has AUTHENTICATED. Bytes that are
 * there already would be lost between the two TLS layers, or carried over from one to the other; either is an
 * attack or a broken client. */
static enum tg_code nothing_in_flight(const struct connection *c, struct tg_error *err)
{
    TG_ENSURE(!tls_has_pending(c) && c->partial_len == 0, err, TG_INVALID_ARGUMENT,
              "bytes ahead of the channel");
    return TG_OK;
}

enum tg_code channel_begin(struct connection *c, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    TG_TRY(nothing_in_flight(c, err));
    h->channel_due = !wire_push(c);
    if (h->channel_due) { /* called again when the socket has taken AUTHENTICATED */
        connection_update_poll(c);
        return TG_OK;
    }
    tls_end(c);
    TG_TRY(tls_begin(c, c->worker->gateway->channel, err));
    TG_TRY(channel_set_psk(c->ssl, h->keys.psk, h->th, err));
    /* Passwords may come next: OpenSSL wipes what it has decrypted, until the session starts. */
    SSL_set_options(c->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    connection_update_poll(c);
    return TG_OK;
}

enum tg_code channel_built(struct connection *c, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    TG_ENSURE(channel_is_protected(c->ssl), err, TG_INVALID_ARGUMENT,
              "the channel does not use the quantum key");
    secret_free(h->keys.psk);
    h->keys.psk = NULL;
    connection_enter(c, order_find(ORDER_CHANNEL, ORDER_CLIENT, 0)->next);
    return TG_OK;
}
