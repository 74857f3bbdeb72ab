/* A repair of nng 1.5.2, found by running it: a listener stops accepting for good, and a dialer stops dialling,
 * once a peer that is still negotiating goes away at the wrong moment. nng turns EPIPE into NNG_ECLOSED ("we
 * closed it ourselves") and then takes no further action. Anyone who can connect could so cut a service off, and
 * so could the mere death of a client.
 *
 * nng writes with sendmsg() only, and takes ECONNRESET for what it is. So this definition stands before libc's
 * (the dynamic linker looks into the program first) and says ECONNRESET where the kernel says EPIPE. Both mean
 * that the peer is gone; nothing else in our processes tells them apart. */
#include "common/rpc/nng_peer_gone.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);
    if (sent < 0 && errno == EPIPE)
        errno = ECONNRESET;
    return sent;
}

void rpc_nng_peer_gone(void)
{
}
