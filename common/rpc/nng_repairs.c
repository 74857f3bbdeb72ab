/* Repairs of nng 1.5.2, for what was found by running it. nng 1.10 needs none of them and is not harmed. */
#include "common/rpc/nng_repairs.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sanitizers.h"

/* A listener stops accepting for good, and a dialer stops dialling, once a peer that is still negotiating
 * goes away at the wrong moment: nng turns EPIPE into NNG_ECLOSED ("we closed it ourselves") and then takes
 * no further action. Anyone who can connect could so cut a service off, and so could the mere death of a
 * client.
 *
 * nng writes with sendmsg() only, and takes ECONNRESET for what it is. So this definition stands before
 * libc's (the dynamic linker looks into the program first) and says ECONNRESET where the kernel says EPIPE.
 * Both mean that the peer is gone; nothing else in our processes tells them apart. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);
    if (sent < 0 && errno == EPIPE)
        errno = ECONNRESET;
    return sent;
}

/* A dialer or listener that is closed in the instant in which a peer has finished negotiating keeps that
 * peer's memory for ever. It happens once, at the end, and only the leak checker of test builds minds. */
#if TG_ADDRESS_SANITIZER
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:nng_dialer_create\nleak:nng_listener_create\n";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#endif

void rpc_nng_repairs(void)
{
}
