/* Facts about a whole database that must not change: kept at first sight, compared ever after. Inside a
 * transaction. */
#ifndef TG_KEY_STORE_NOTES_H
#define TG_KEY_STORE_NOTES_H

#include "services/key-store/kek/keyring.h"
#include "services/key-store/store/store.h"

/* len: at most STORE_NOTE_MAX. Errors as of the store; that it is not the same is none. */
enum tg_code note_check(struct store *store, const char *name, const void *value, size_t len, bool *same,
                        struct tg_error *err) TG_MUST_CHECK;

/* Is each KEK of the ring the one that this database knows by its id? FAILED_PRECONDITION: not this one. */
enum tg_code notes_check_keks(struct store *store, const struct keyring *ring,
                              struct tg_error *err) TG_MUST_CHECK;
/* Can the ring open all that is in this database? FAILED_PRECONDITION: no, the text names the KEK that is
 * missing.
 */
enum tg_code notes_check_none_missing(struct store *store, const struct keyring *ring,
                                      struct tg_error *err) TG_MUST_CHECK;

#endif
