/* What `ticketgate connect` tells about a login. */
#ifndef TG_CLIENT_CONNECT_SAY_H
#define TG_CLIENT_CONNECT_SAY_H

#include "client/connect_options.h"

/* "connected as alice until …, policy core-ops, N keys left on the shield", the banner, where the user may
 * go, and a warning when the shield runs low. */
void say_connected(const struct say *say, const struct connect_options *options,
                   const struct login_session *session, size_t keys_left);
#endif
