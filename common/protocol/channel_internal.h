/* What the two handshakes' files share; nobody else includes this. */
#ifndef TG_COMMON_PROTOCOL_CHANNEL_INTERNAL_H
#define TG_COMMON_PROTOCOL_CHANNEL_INTERNAL_H

#include "common/protocol/channel.h"

/* TLS 1.3, our groups and cipher suites, no tickets, no cache: what both handshakes have in common. */
enum tg_code channel_new_context(bool server, SSL_CTX **out, struct tg_error *err) TG_MUST_CHECK;
/* For TG_CLEANUP. */
void channel_free_context(SSL_CTX **ctx);

#endif
