/* TLS of RPC listeners and endpoints: mutual, certificates always required, one CA per side. */
#ifndef TG_COMMON_RPC_TLS_H
#define TG_COMMON_RPC_TLS_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "common/rpc/rpc.h"

/* Makes a configuration from the three files; freed with nng_tls_config_free once the listener or dialer has
 * it. server_name: NULL for listeners; for endpoints the DNS name that the server's certificate must bear.
 * INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED: the text names the file and what is wrong with it. */
enum tg_code rpc_tls_config(const struct rpc_tls *tls, const char *server_name, nng_tls_config **out,
                            struct tg_error *err) TG_MUST_CHECK;

#endif
