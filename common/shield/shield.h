/* The shield (U盾): carries quantum keys and their tickets (DESIGN.md 4). A struct of functions; backends:
 * file (a removable disk), memory (tests and load). Keys stay; operations travel: a key never comes out.
 *
 * A shield belongs to one thread at a time; two processes are kept apart by the backend's lock. */
#ifndef TG_COMMON_SHIELD_SHIELD_H
#define TG_COMMON_SHIELD_SHIELD_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/protocol/suite.h"
#include "common/secret.h"
#include "common/ticket.h"

struct shield;
struct shield_key; /* a taken key: usable for one derivation, then freed */

enum { SHIELD_ID_LEN = 128 };

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
/* Removes the ticket that expires next durably, *before* it is used (step 4). FAILED_PRECONDITION: empty,
 * fill it. UNAVAILABLE: the shield was pulled. */
enum tg_code shield_take(struct shield *shield, uint64_t now_s, struct shield_key **key,
                         struct tg_error *err) TG_MUST_CHECK;
const uint8_t *shield_key_ticket(const struct shield_key *key); /* TICKET_LEN bytes, borrowed */
/* HMAC-H with the taken key: the one operation with it; a second call fails with FAILED_PRECONDITION. */
enum tg_code shield_derive(struct shield_key *key, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err) TG_MUST_CHECK;
void shield_key_free(struct shield_key *key);
/* Adds all entries or none, durably on return (the charger). A ticket that is already there: ALREADY_EXISTS.
 * No room for all (4,096 keys): RESOURCE_EXHAUSTED. */
enum tg_code shield_add(struct shield *shield, const struct shield_entry *entries, size_t count,
                        struct tg_error *err) TG_MUST_CHECK;

#endif
