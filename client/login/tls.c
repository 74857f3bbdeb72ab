/* What all logins share: the contexts of the first TLS and of the channel. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/login/handshake.h"
#include "common/protocol/channel.h"

enum tg_code login_tls_open(const char *ca, struct login_tls **tls, struct tg_error *err)
{
    TG_ENSURE(access(ca, F_OK) == 0 || errno != ENOENT, err, TG_NOT_FOUND, "%s: there is no such file", ca);
    struct login_tls *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    enum tg_code code = channel_client_context(ca, &made->gateway, err);
    if (code == TG_OK)
        code = channel_psk_context(false, &made->channel, err);
    if (code == TG_OK)
        *tls = made;
    else
        login_tls_close(made);
    return code;
}

void login_tls_close(struct login_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->gateway);
    SSL_CTX_free(tls->channel);
    free(tls);
}
