/* Two sites: the keys of one chunk, drawn from the charger's own KME. The key store is told their ids, and
 * its tickets come back for them. */
#ifndef TG_CLIENT_CHARGER_DRAWN_H
#define TG_CLIENT_CHARGER_DRAWN_H

#include "common/etsi014/client.h"
#include "proto/key_store.pb-c.h"

struct drawn { /* zeroed: none were drawn */
    struct etsi014_keys keys;
    ProtobufCBinaryData *ids;
};

/* Draws `count` keys and names them in `message`, which borrows. Codes as in common/etsi014/client.h.
 * Whatever fails afterwards, drawn_fini drops them: the ones of the same ids at the other KME are nobody's,
 * and age there. */
enum tg_code drawn_init(struct drawn *drawn, struct etsi014_client *kme, const char *slave_sae,
                        uint32_t count, uint64_t deadline_ms, Tg__FillRequest *message,
                        struct tg_error *err) TG_MUST_CHECK;
/* Puts each key beside its ticket, as if the key store had sent both; the answer borrows. DATA_LOSS: it is
 * not for these keys. */
enum tg_code drawn_join(const struct drawn *drawn, Tg__FillResponse *response,
                        struct tg_error *err) TG_MUST_CHECK;
void drawn_fini(struct drawn *drawn); /* wipes */

#endif
