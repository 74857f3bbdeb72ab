#include "common/rpc/threads.h"

#include <nng/nng.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/rpc/closer.h"

static void end_threads(void)
{
    if (!rpc_closer_is_stuck()) /* nng would wait for ever */
        nng_fini();
}

static void at_exit(void)
{
    /* OpenSSL cleans up at exit as well, and functions named to atexit are called newest first. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    atexit(end_threads);
}

void rpc_threads_end_with_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, at_exit);
}
