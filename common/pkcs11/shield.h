/* The shield on a PKCS#11 token (DESIGN.md 4); what can be done with it stands in common/shield/shield.h.
 *
 * The token's label is the shield's id. A quantum key is one object, CKO_SECRET_KEY of type
 * CKK_GENERIC_SECRET, sensitive and not extractable, CKA_ID its key id, CKA_LABEL its ticket in text form
 * ("tgt1.…"). The token makes and destroys an object as a whole: there is no key without ticket and no ticket
 * without key, whenever the power goes. Other objects on the token are left alone. Only suites with H =
 * SHA-256.
 *
 * Deriving is HMAC in the token, then C_DestroyObject, then the answer: killed in between, the result was
 * never seen by anybody. Who does not get to destroy the object gets no result. */
#ifndef TG_COMMON_PKCS11_SHIELD_H
#define TG_COMMON_PKCS11_SHIELD_H

#include "common/pkcs11/token.h"
#include "common/shield/shield.h"

/* Codes of token_open; INVALID_ARGUMENT too when the token's label is no shield id. */
enum tg_code shield_token_open(const struct token_where *where, const struct secret *pin,
                               struct shield **shield, struct tg_error *err) TG_MUST_CHECK;

#endif
