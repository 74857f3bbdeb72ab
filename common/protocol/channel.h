/* The two TLS handshakes of one connection, as OpenSSL contexts: the first with the gateway's certificate,
 * the second (the channel, step 10) with an external PSK from the quantum key and (EC)DHE (RFC
 * 8446 2.2, 4.2.9). TLS 1.3 only, groups X25519MLKEM768:X25519 where OpenSSL has the first; no session
 * tickets, no 0-RTT, no PSK without DH, no renegotiation. */
#ifndef TG_COMMON_PROTOCOL_CHANNEL_H
#define TG_COMMON_PROTOCOL_CHANNEL_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/protocol/schedule.h"

/* First TLS, gateway: PEM files. Errors name the file. The SSL_CTX is the caller's. */
enum tg_code channel_server_context(const char *certificate, const char *key, SSL_CTX **ctx,
                                    struct tg_error *err) TG_MUST_CHECK;
/* First TLS, client: trusts `ca` (PEM file). The caller sets SSL_set1_host and SNI on each SSL. */
enum tg_code channel_client_context(const char *ca, SSL_CTX **ctx, struct tg_error *err) TG_MUST_CHECK;
/* Second TLS, either end; one context serves all connections. */
enum tg_code channel_psk_context(bool server, SSL_CTX **ctx, struct tg_error *err) TG_MUST_CHECK;

/* After SSL_new from channel_psk_context: which key this connection uses. psk is borrowed until the handshake
 * has ended, identity is copied. The gateway accepts that identity alone. */
enum tg_code channel_set_psk(SSL *ssl, const struct secret *psk, const uint8_t identity[SUITE_HASH_LEN],
                             struct tg_error *err) TG_MUST_CHECK;
/* True when the finished handshake used the PSK with (EC)DHE and TLS 1.3, as it must have. */
bool channel_is_protected(SSL *ssl);

/* The first TLS's exporter under LABEL_EXPORTER. */
enum tg_code channel_exporter(SSL *ssl, uint8_t out[SCHEDULE_EXPORTER_LEN],
                              struct tg_error *err) TG_MUST_CHECK;

/* OpenSSL's newest error as text into err with `what` in front; returns code. Clears OpenSSL's queue. */
enum tg_code channel_fail(struct tg_error *err, enum tg_code code, const char *what);

#endif
