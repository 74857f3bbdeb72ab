/* Events as syslog messages, RFC 5424: facility 13 (log audit), severity from the event's own, MSGID the
 * event's name, and as the message the line as it is stored. */
#ifndef TG_TOOLS_EXPORT_SYSLOG_H
#define TG_TOOLS_EXPORT_SYSLOG_H

#include <stddef.h>

#include "common/error.h"

/* *message is the caller's to free(), *len bytes without any framing. `host`: of the header, printable ASCII.
 * DATA_LOSS: the line is no event. */
enum tg_code syslog_message(const char *line, const char *host, char **message, size_t *len,
                            struct tg_error *err) TG_MUST_CHECK;

#endif
