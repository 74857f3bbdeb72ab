#include "common/rpc/threads.h"

#include <nng/nng.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

static void at_exit(void)
{
    /* OpenSSL cleans up at exit as well, and functions named to atexit are called newest first. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    atexit(nng_fini);
}

void rpc_threads_end_with_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, at_exit);
}
