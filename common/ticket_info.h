/* Ticket info (step 8): the key centre's answer, the quantum key sealed to the asking gateway with
 * AES-256-GCM under the QKUD's key; aad = all other fields and the request id. Resolver, nng and logs see
 * only the sealed form. */
#ifndef TG_COMMON_TICKET_INFO_H
#define TG_COMMON_TICKET_INFO_H

#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"
#include "common/ticket.h"
#include "common/trace.h"

enum { TICKET_INFO_TEXT_MAX = 128, QUANTUM_KEY_LEN = 32 };

struct ticket_info {
    uint8_t ticket[TICKET_LEN];
    char qkud_id[TICKET_INFO_TEXT_MAX + 1];
    char shield_id[TICKET_INFO_TEXT_MAX + 1];
    char owner[TICKET_INFO_TEXT_MAX + 1];  /* "": not bound */
    char policy[TICKET_INFO_TEXT_MAX + 1]; /* "": none */
};

/* Packed SealedTicketInfo (proto/key_store.proto) into *out, the caller's to free(). Any thread, as all here.
 */
enum tg_code ticket_info_seal(const struct ticket_info *info, const struct secret *key,
                              const struct secret *qkud_key, const uint8_t request_id[REQUEST_ID_LEN],
                              uint8_t **out, size_t *out_len, struct tg_error *err) TG_MUST_CHECK;
/* INVALID_ARGUMENT: malformed. UNAUTHENTICATED: altered, sealed to another gateway, or an answer to another
 * request (request_id, ticket or qkud_id differ). *key is the caller's. */
enum tg_code ticket_info_open(const void *in, size_t len, const struct secret *qkud_key, const char *qkud_id,
                              const uint8_t ticket[TICKET_LEN], const uint8_t request_id[REQUEST_ID_LEN],
                              struct ticket_info *info, struct secret **key,
                              struct tg_error *err) TG_MUST_CHECK;

#endif
