/* Saying no. A stranger learns a code and a sentence that never says which of ticket, key or user was wrong,
 * and the trace id, for the operator; the true reason goes to log and audit. */
#ifndef TG_GATEWAY_REFUSE_H
#define TG_GATEWAY_REFUSE_H

#include "common/error.h"
#include "services/gateway/connection.h"

/* Before the session: REFUSED, one audit event ("handshake.refused" or "login.refused"), close. In the
 * session: BYE, close. why->code is one of TG_INVALID_ARGUMENT, TG_OUT_OF_RANGE (broke the protocol),
 * TG_DEADLINE_EXCEEDED (too slow), TG_UNIMPLEMENTED (no version or suite in common), TG_UNAUTHENTICATED,
 * TG_FAILED_PRECONDITION (login info must be sealed), TG_PERMISSION_DENIED (no policy), TG_RESOURCE_EXHAUSTED
 * (full); any other becomes UNAVAILABLE. why->text: the truth. */
void refuse(struct connection *c, const struct tg_error *why);

/* The client is gone without a word. Who has shown a ticket, or has had a password tried, leaves a trace in
 * the audit log all the same; strangers do not. */
void refuse_absent(struct connection *c);

/* The gateway stops: BYE in a session, REFUSED before. */
void refuse_for_restart(struct connection *c);

/* What a client is told for a code. Static string. */
const char *refuse_text(enum tg_code code);

#endif
