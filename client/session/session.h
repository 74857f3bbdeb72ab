/* Step 14: the user is in, and works on the intranet through the gateway. One libuv loop carries the channel
 * and all local connections; streams have credit (common/protocol/stream.h), so a slow program slows nobody
 * else. */
#ifndef TG_CLIENT_SESSION_SESSION_H
#define TG_CLIENT_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/address.h"
#include "client/exit_code.h"
#include "client/login/login.h"
#include "client/say.h"

enum { SESSION_KEEP_ALIVE_MS = 15000, SESSION_FORWARDS_MAX = 64 };

struct session_options { /* borrowed while session_run runs */
    const struct say *say;
    const struct forward_spec *forwards; /* -L */
    size_t forward_count;
    const struct host_port *stdio_target; /* -W: stdin and stdout are one stream; NULL: none */
    uint32_t keep_alive_ms;               /* how often a silent gateway is asked whether it is there */
    bool (*shield_pulled)(void *arg); /* asked every second on the loop; true ends the session. NULL: never */
    void *shield_arg;
};

/* Runs the session to its end: BYE from either side, SIGINT, SIGTERM or SIGHUP (a clean end, EXIT_OK), or,
 * with a stdio_target, the end of that stream. Says each forward it opened. Leaves closing login->ssl and
 * login->fd to the caller. err: why, when the result is not EXIT_OK. One thread; the process's signal
 * dispositions are used while it runs. */
enum client_exit session_run(struct login_session *login, const struct session_options *options,
                             struct tg_error *err);

#endif
