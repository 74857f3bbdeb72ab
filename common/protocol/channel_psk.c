/* The channel: TLS 1.3 with an external PSK and (EC)DHE (RFC 8446 2.2, 4.2.9 to 4.2.11). */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/protocol/channel_internal.h"

/* A PSK belongs to one hash (RFC 8446 4.2.11), so the client offers cipher suites of one hash only. The
 * gateway takes what the client offers. */
static const char client_ciphersuites[] = "TLS_AES_256_GCM_SHA384";

/* Hangs on the SSL. */
struct channel_psk {
    const struct secret *psk; /* borrowed; NULL once the handshake has ended */
    uint8_t identity[SUITE_HASH_LEN];
};

static int slot = -1;
static pthread_once_t slot_made = PTHREAD_ONCE_INIT;

static void free_psk(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    free(ptr);
}

static void make_slot(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_psk);
    TG_INVARIANT(slot >= 0);
}

static struct channel_psk *psk_of(const SSL *ssl)
{
    struct channel_psk *p = SSL_get_ex_data(ssl, slot);
    return p != NULL && p->psk != NULL ? p : NULL;
}

/* The session holds a copy of the PSK in ordinary memory; forget_psk ends that. */
static SSL_SESSION *session_of(const struct channel_psk *p, const SSL_CIPHER *cipher)
{
    SSL_SESSION *s = SSL_SESSION_new();
    if (s != NULL && SSL_SESSION_set1_master_key(s, secret_view(p->psk), secret_len(p->psk)) == 1 &&
        SSL_SESSION_set_cipher(s, cipher) == 1 && SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) == 1)
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static bool same_hash(const EVP_MD *md, const SSL_CIPHER *cipher)
{
    const EVP_MD *own = SSL_CIPHER_get_handshake_digest(cipher);
    return own != NULL && EVP_MD_get_type(own) == EVP_MD_get_type(md);
}

/* Client, asked before ClientHello (md NULL) and after a HelloRetryRequest. */
static int offer_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
                     SSL_SESSION **session)
{
    struct channel_psk *p = psk_of(ssl);
    const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(SSL_get_ciphers(ssl), 0);
    if (p == NULL || cipher == NULL || (md != NULL && !same_hash(md, cipher)))
        return 0;
    *id = p->identity;
    *id_len = sizeof p->identity;
    *session = session_of(p, cipher);
    return *session != NULL;
}

/* Gateway: this connection's identity, or the handshake fails. */
static int find_psk(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **session)
{
    struct channel_psk *p = psk_of(ssl);
    const SSL_CIPHER *cipher = SSL_get_pending_cipher(ssl);
    if (p == NULL || cipher == NULL || id_len != sizeof p->identity ||
        CRYPTO_memcmp(id, p->identity, id_len) != 0)
        return 0;
    *session = session_of(p, cipher);
    return *session != NULL;
}

/* At the handshake's end: the borrowed key is let go, and OpenSSL's copy overwritten (traffic keys are
 * derived by now; nothing reads it again, since there are no session tickets). */
static void forget_psk(const SSL *ssl, int where, int ret)
{
    (void)ret;
    struct channel_psk *p = psk_of(ssl);
    if (!(where & SSL_CB_HANDSHAKE_DONE) || p == NULL)
        return;
    p->psk = NULL;
    static const uint8_t zeros[SUITE_KEY_LEN];
    SSL_SESSION *session = SSL_get_session(ssl);
    if (session != NULL)
        TG_INVARIANT(SSL_SESSION_set1_master_key(session, zeros, sizeof zeros) == 1);
}

enum tg_code channel_psk_context(bool server, SSL_CTX **out, struct tg_error *err)
{
    TG_INVARIANT(pthread_once(&slot_made, make_slot) == 0);
    TG_CLEANUP(channel_free_context) SSL_CTX *ctx = NULL;
    TG_TRY(channel_new_context(server, &ctx, err));
    if (!server && SSL_CTX_set_ciphersuites(ctx, client_ciphersuites) != 1)
        return channel_fail(err, TG_INTERNAL, "cannot set up the channel's cipher");
    SSL_CTX_clear_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
    if (!server) /* no CA is trusted: a gateway that comes with a certificate instead is refused */
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_info_callback(ctx, forget_psk);
    if (server)
        SSL_CTX_set_psk_find_session_callback(ctx, find_psk);
    else
        SSL_CTX_set_psk_use_session_callback(ctx, offer_psk);
    *out = ctx;
    ctx = NULL;
    return TG_OK;
}

enum tg_code channel_set_psk(SSL *ssl, const struct secret *psk, const uint8_t identity[SUITE_HASH_LEN],
                             struct tg_error *err)
{
    TG_INVARIANT(slot >= 0 && secret_len(psk) == SUITE_KEY_LEN && SSL_get_ex_data(ssl, slot) == NULL);
    struct channel_psk *p = calloc(1, sizeof *p);
    if (p == NULL || SSL_set_ex_data(ssl, slot, p) != 1) {
        free(p);
        return channel_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the channel");
    }
    p->psk = psk;
    memcpy(p->identity, identity, sizeof p->identity);
    return TG_OK;
}

bool channel_is_protected(SSL *ssl)
{
    return SSL_is_init_finished(ssl) && SSL_version(ssl) == TLS1_3_VERSION && SSL_session_reused(ssl) == 1 &&
           SSL_get_negotiated_group(ssl) != NID_undef;
}
