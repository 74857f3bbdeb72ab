#ifndef TG_COMMON_RPC_NNG_REPAIRS_H
#define TG_COMMON_RPC_NNG_REPAIRS_H

/* Does nothing; being called, it makes the linker take the repairs of nng_repairs.c into every program that
 * listens or dials. */
void rpc_nng_repairs(void);

#endif
