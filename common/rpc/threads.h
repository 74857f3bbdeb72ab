/* nng's threads, which work for all clients and servers of the process. */
#ifndef TG_COMMON_RPC_THREADS_H
#define TG_COMMON_RPC_THREADS_H

/* Sees to it, once, that exit() ends nng's threads: they hold what OpenSSL keeps for each thread, which
 * nobody would free otherwise. Any thread. */
void rpc_threads_end_with_process(void);

#endif
