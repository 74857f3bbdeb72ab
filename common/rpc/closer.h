/* Closing nng sockets without being caught in it. In nng 1.5.2 a connection that closes between the head of a
 * message and its body, or in the middle of one it sends, is waited for in vain: nng_close then never
 * returns, and the thread that clears away dead connections never clears another. So sockets are closed by a
 * thread of their own, and whoever closes waits for a bounded time only. */
#ifndef TG_COMMON_RPC_CLOSER_H
#define TG_COMMON_RPC_CLOSER_H

#include <nng/nng.h>
#include <stdbool.h>

struct rpc_closer;

/* Starts to close the socket, once `settle_ms` have passed; nobody may be inside nng_ctx_send or nng_ctx_recv
 * with one of its contexts, nor come to be. `after` (may be NULL) is called when nng has let go of it, which
 * may be never. NULL when no thread could be started: the socket stays open. */
struct rpc_closer *rpc_closer_start(nng_socket socket, unsigned settle_ms, void (*after)(void *), void *arg);
/* Both consume the closer; NULL is fine. True: the socket is closed and `after` has been called. */
bool rpc_closer_wait(struct rpc_closer *closer, unsigned timeout_ms);
void rpc_closer_let_go(struct rpc_closer *closer);

/* True when some close has been waited for in vain: nng_fini would not return either. */
bool rpc_closer_is_stuck(void);

#endif
