#ifndef TG_COMMON_RPC_NNG_PEER_GONE_H
#define TG_COMMON_RPC_NNG_PEER_GONE_H

/* Does nothing; being called, it makes the linker take the repair in nng_peer_gone.c into every program that
 * listens or dials. */
void rpc_nng_peer_gone(void);

#endif
