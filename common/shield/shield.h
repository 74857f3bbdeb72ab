/* The shield (U盾): carries quantum keys and their tickets (DESIGN.md 4). A struct of functions; backends:
 * file (a removable disk), token (PKCS#11, common/pkcs11/shield.h), memory (tests and load). Keys stay;
 * operations travel: a key never comes out.
 *
 * A shield belongs to one thread at a time. Two processes: a file is locked by the first; on a token both may
 * work, and each key is one's. */
#ifndef TG_COMMON_SHIELD_SHIELD_H
#define TG_COMMON_SHIELD_SHIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/protocol/suite.h"
#include "common/secret.h"
#include "common/ticket.h"

struct shield;
struct shield_key; /* a taken key: usable for one derivation, then freed */

enum { SHIELD_ID_LEN = 128, SHIELD_NOTE_MAX = 32 * 1024 };

struct shield_status {
    char shield_id[SHIELD_ID_LEN + 1];
    size_t ready; /* keys left that have not expired at now_s */
    size_t expired;
    uint64_t next_expiry_s; /* 0: none */
};

struct shield_entry {      /* what the charger adds: borrowed */
    const uint8_t *ticket; /* TICKET_LEN */
    const struct secret *key;
};

/* Makes a new, empty file shield; ALREADY_EXISTS rather than overwriting. PIN: 6 to 64 bytes. */
enum tg_code shield_file_create(const char *path, const char *shield_id, const struct secret *pin,
                                struct tg_error *err) TG_MUST_CHECK;
/* Opens and locks one. NOT_FOUND; PERMISSION_DENIED (others can read it); UNAUTHENTICATED (wrong PIN, or
 * altered: the two cannot be told apart); DATA_LOSS (not a container, or damaged: it is left as it is);
 * UNAVAILABLE (another process has it open). */
enum tg_code shield_file_open(const char *path, const struct secret *pin, struct shield **shield,
                              struct tg_error *err) TG_MUST_CHECK;
/* The shield id alone, without PIN or lock: not proved genuine. NOT_FOUND, PERMISSION_DENIED, DATA_LOSS as
 * above. */
enum tg_code shield_file_peek(const char *path, char shield_id[SHIELD_ID_LEN + 1],
                              struct tg_error *err) TG_MUST_CHECK;
/* A shield that lives as long as the process, for tests and load. */
enum tg_code shield_memory_open(const char *shield_id, struct shield **shield,
                                struct tg_error *err) TG_MUST_CHECK;
void shield_close(struct shield *shield); /* NULL is fine */

enum tg_code shield_get_status(struct shield *shield, uint64_t now_s, struct shield_status *out,
                               struct tg_error *err) TG_MUST_CHECK;
/* UNAVAILABLE: it was pulled. */
enum tg_code shield_check(struct shield *shield, struct tg_error *err) TG_MUST_CHECK;
/* Whether its keys can do H of this suite: tokens have HMAC-SHA-256 only. */
bool shield_can(const struct shield *shield, const struct suite *suite);
/* Takes the ticket that expires next; of several, the one with the smallest key id or that was added first
 * (step 4). What is taken is durably gone before it can be used: a file shield removes it here, a token in
 * shield_derive. FAILED_PRECONDITION: empty, fill it. UNAVAILABLE: the shield was pulled. */
enum tg_code shield_take(struct shield *shield, uint64_t now_s, struct shield_key **key,
                         struct tg_error *err) TG_MUST_CHECK;
const uint8_t *shield_key_ticket(const struct shield_key *key); /* TICKET_LEN bytes, borrowed */
/* HMAC-H with the taken key: the one operation with it; a second call fails with FAILED_PRECONDITION.
 * ABORTED: another program was quicker to use this key of a token: take the next one. UNIMPLEMENTED: not
 * shield_can. The shield must still be open. */
enum tg_code shield_derive(struct shield_key *key, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err) TG_MUST_CHECK;
void shield_key_free(struct shield_key *key);
/* Adds all entries in this order, or none, durably on return (the charger). Killed in between, a file has
 * none of them, a token the first few; a failed one may leave such a rest on a token that was pulled. A
 * ticket that is already there: ALREADY_EXISTS. No room for all (a file: 4,096 keys): RESOURCE_EXHAUSTED. */
enum tg_code shield_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                        struct tg_error *err) TG_MUST_CHECK;
/* Is this key there? */
enum tg_code shield_has(struct shield *shield, const uint8_t key_id[TICKET_KEY_ID_LEN], bool *there,
                        struct tg_error *err) TG_MUST_CHECK;
/* Removes these keys, as many of them as are there, durably. */
enum tg_code shield_remove(struct shield *shield, const uint8_t (*key_ids)[TICKET_KEY_ID_LEN], size_t count,
                           struct tg_error *err) TG_MUST_CHECK;

/* A note that stays with the shield, for the charger: of a fill under way. Up to SHIELD_NOTE_MAX bytes; len 0
 * removes it. Durable on return. */
enum tg_code shield_put_note(struct shield *shield, const void *bytes, size_t len,
                             struct tg_error *err) TG_MUST_CHECK;
/* *len 0: there is none. *bytes is the caller's to free(). */
enum tg_code shield_get_note(struct shield *shield, uint8_t **bytes, size_t *len,
                             struct tg_error *err) TG_MUST_CHECK;

#endif
