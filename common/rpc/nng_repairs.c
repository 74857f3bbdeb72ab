/* Repairs of nng 1.5.2, for what was found by running it. nng 1.10 needs none of them and is not harmed. */
#include "common/rpc/nng_repairs.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sanitizers.h"

/* When a write fails because the peer is gone, nng does three harmful things. A listener with such a peer
 * that was still negotiating never accepts again, and a dialer never dials again: nng takes EPIPE for its own
 * closing, so anyone who can connect, or the mere death of a client, cuts a service off. And a connection
 * that was reading an answer at that moment may never be cleared away, and none after it (closer.h).
 *
 * Nothing is lost by not telling: reading finds out as well, in order, after all that had arrived. So this
 * definition of what nng writes with stands before libc's (the dynamic linker looks into the program first)
 * and lets writes to a peer that is gone vanish, as they would have a moment earlier. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);
    if (sent >= 0 || (errno != EPIPE && errno != ECONNRESET))
        return sent;
    sent = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        sent += (ssize_t)message->msg_iov[i].iov_len;
    return sent;
}

/* A dialer or listener that is closed in the instant in which a peer has finished negotiating keeps that
 * peer's memory for ever, and a connection that closes may keep the message that it was just given. A few
 * bytes for each death of a peer: only the leak checker of test builds minds. */
#if TG_ADDRESS_SANITIZER
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:nng_dialer_create\nleak:nng_listener_create\n"
           "leak:rpc_request_encode\nleak:rpc_answer_encode\n";
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
