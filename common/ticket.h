/* Key tickets (DESIGN.md 5): which quantum key, whose centre, until when, and a MAC under the centre's ticket
 * key, so that a forgery is refused without asking the store. Fixed length, big endian:
 *
 *   version (1) = 1 | key id, UUID (16) | centre id (8) | expiry, Unix seconds (8) | HMAC-SHA-256 over the
 * foregoing (32)
 *
 * Text form: "tgt1." and the base64url of these bytes (RFC 4648 5, no padding). */
#ifndef TG_COMMON_TICKET_H
#define TG_COMMON_TICKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

enum ticket_sizes {
    TICKET_KEY_ID_LEN = 16,
    TICKET_CENTRE_LEN = 8,
    TICKET_MAC_LEN = 32,
    TICKET_LEN = 1 + TICKET_KEY_ID_LEN + TICKET_CENTRE_LEN + 8 + TICKET_MAC_LEN, /* 65 */
    TICKET_TEXT_LEN = 5 + 87,                                                    /* without the terminator */
    TICKET_KEY_LEN = 32                                                          /* the centre's ticket key */
};

struct ticket {
    uint8_t key_id[TICKET_KEY_ID_LEN];
    uint8_t centre[TICKET_CENTRE_LEN];
    uint64_t expires_s;
};

/* A random UUID, version 4 (RFC 9562 5.4), as ETSI GS QKD 014 names keys. Any thread, as all here. */
void ticket_new_key_id(uint8_t key_id[TICKET_KEY_ID_LEN]);

void ticket_encode(const struct ticket *ticket, const struct secret *ticket_key, uint8_t out[TICKET_LEN]);
/* Exact length, known version, MAC in constant time, then expiry against now_s. INVALID_ARGUMENT (malformed),
 * UNAUTHENTICATED (forged, or another centre's key), FAILED_PRECONDITION (expired: *ticket is filled in). */
enum tg_code ticket_decode(const void *in, size_t len, const struct secret *ticket_key, uint64_t now_s,
                           struct ticket *ticket, struct tg_error *err) TG_MUST_CHECK;
/* Reads without checking MAC or expiry, for shields and lists (they hold no ticket key). */
enum tg_code ticket_peek(const void *in, size_t len, struct ticket *ticket,
                         struct tg_error *err) TG_MUST_CHECK;

void ticket_to_text(const uint8_t in[TICKET_LEN], char out[TICKET_TEXT_LEN + 1]);
enum tg_code ticket_from_text(const char *text, uint8_t out[TICKET_LEN], struct tg_error *err) TG_MUST_CHECK;

/* "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx", and back (lower case only): INVALID_ARGUMENT. */
void ticket_key_id_text(const uint8_t key_id[TICKET_KEY_ID_LEN], char out[37]);
enum tg_code ticket_key_id_from_text(const char *text, uint8_t key_id[TICKET_KEY_ID_LEN],
                                     struct tg_error *err) TG_MUST_CHECK;

#endif
