/* What the gateway tells the audit log (docs/audit.md), and its log lines about one connection. */
#ifndef TG_GATEWAY_EVENTS_H
#define TG_GATEWAY_EVENTS_H

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/gateway/connection.h"

/* An event with all that is known about the connection: trace, source, QKUD, and, as far as it has got,
 * ticket, shield, user, session, policy. Strings are borrowed from the connection. reason: NULL for success.
 */
void event_init(Tg__Event *event, const struct connection *c, const char *name, const char *reason);

#endif
