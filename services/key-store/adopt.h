/* Keys of another site: a charger there has drawn them from its own KME, and we fetch the same ones from ours
 * (ETSI GS QKD 014 dec_keys), so that no key crosses the classical network. On a thread of its own, since a
 * KME may take its time. */
#ifndef TG_KEY_STORE_ADOPT_H
#define TG_KEY_STORE_ADOPT_H

#include "common/etsi014/client.h"

struct adopter;

/* Embedded in what it is about. */
struct adoption {
    struct adoption *next; /* the adopter's, while queued */
    uint8_t (*ids)[TICKET_KEY_ID_LEN];
    size_t count;         /* 1 to ETSI014_KEYS_MAX */
    uint64_t deadline_ms; /* of clock_now_ms() */
    struct secret *keys;  /* when it is done well: count × 32 bytes, for whoever asked */
    /* Exactly once, on the adopter's thread. Codes as in common/etsi014/client.h. */
    void (*done)(struct adoption *adoption, enum tg_code code, const char *text);
};

/* `master`: the SAE of the charger. All is copied. Errors as of etsi014_client_open. */
enum tg_code adopter_open(const struct etsi014_peer *peer, const char *master, struct adopter **adopter,
                          struct tg_error *err) TG_MUST_CHECK;
enum tg_code adopter_start(struct adopter *adopter, struct tg_error *err) TG_MUST_CHECK;
/* Ends what is under way or queued with CANCELLED. NULL is fine. */
void adopter_close(struct adopter *adopter);
/* "master SAE charger-1 by etsi014": for the audit log; borrowed. */
const char *adopter_name(const struct adopter *adopter);
/* Queues; borrowed until done. Never blocks; any thread. */
void adopter_add(struct adopter *adopter, struct adoption *adoption);

#endif
