/* One event as it stands in the log: JSON members in a fixed order, flat, named as in proto/audit.proto, with
 * the class of the Open Cybersecurity Schema Framework (class_uid) that the event belongs to.
 * docs/audit-events.md describes them. */
#ifndef TG_AUDIT_RECORD_H
#define TG_AUDIT_RECORD_H

#include <stddef.h>

#include "common/error.h"
#include "common/secret.h"
#include "proto/audit.pb-c.h"

enum record_limits { RECORD_EVENT_MAX = 64, RECORD_TICKET_MAX = 256, RECORD_KEY_LEN = 32 };

/* *body is the caller's to free(): the rest of a line after its sequence, for log_writer.h. The ticket is
 * replaced by its HMAC-SHA-256 under ticket_key. Values from outside are made one line of harmless UTF-8; one
 * that is too long is cut and ends in "…[+N bytes]". INVALID_ARGUMENT: no event name, or not of [a-z0-9_.-];
 * ticket too long. Any thread. */
enum tg_code record_encode(const Tg__Event *event, const struct secret *ticket_key, char **body, size_t *len,
                           struct tg_error *err) TG_MUST_CHECK;

/* "2026-11-22T20:14:11.123456Z": RFC 3339, UTC, always this long, so that times compare as texts. */
enum { RECORD_TIME_LEN = 27 };
void record_time(uint64_t unix_us, char out[RECORD_TIME_LEN + 1]);

#endif
