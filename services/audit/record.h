/* One event as it stands in the log: the Open Cybersecurity Schema Framework's members in a fixed order
 * (docs/audit.md describes them), and what it has no member for in `unmapped`. */
#ifndef TG_AUDIT_RECORD_H
#define TG_AUDIT_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/secret.h"
#include "proto/audit.pb-c.h"

enum record_limits {
    RECORD_EVENT_MAX = 64,
    RECORD_HIDDEN_MAX = 256,        /* bytes of what is replaced by its HMAC */
    RECORD_BODY_MAX = 65535 - 1024, /* leaves room for what the log adds */
    RECORD_KEY_LEN = 32,
    RECORD_HMAC_HEX_LEN = 64
};

/* *body is the caller's to free(): the rest of a line after its sequence, for log_writer.h. Ticket, client
 * random and RADIUS Class are replaced by their HMAC-SHA-256 under ticket_key. Values from outside are made
 * one line of harmless UTF-8; one that is too long is cut and ends in "…[+N bytes]", and
 * metadata.is_truncated says so. INVALID_ARGUMENT: no event name, or not of [a-z0-9_.-]; ticket, client
 * random or Class too long. Any thread. */
enum tg_code record_encode(const Tg__Event *event, const struct secret *ticket_key, char **body, size_t *len,
                           struct tg_error *err) TG_MUST_CHECK;

/* What stands in the log instead of such a value. False: no memory. Any thread. */
bool record_hmac(const struct secret *key, const void *value, size_t len,
                 char hex[RECORD_HMAC_HEX_LEN + 1]) TG_MUST_CHECK;

/* "2026-11-22T20:14:11.123456Z": RFC 3339, UTC, always this long, so that times compare as texts. */
enum { RECORD_TIME_LEN = 27 };
void record_time(uint64_t unix_us, char out[RECORD_TIME_LEN + 1]);

#endif
