/* Keys for filling from a KME, by ETSI GS QKD 014: the store is the master SAE, and what it draws goes into a
 * stock. */
#ifndef TG_KEY_STORE_SOURCE_ETSI014_H
#define TG_KEY_STORE_SOURCE_ETSI014_H

#include "common/etsi014/client.h"
#include "services/key-store/source/source_stock.h"

/* For source_stock_open. `slave`: the SAE for which keys are drawn (nobody needs to fetch them there); all is
 * copied. Errors as of etsi014_client_open, and INVALID_ARGUMENT without a slave. */
enum tg_code source_etsi014_open(const struct etsi014_peer *peer, const char *slave,
                                 struct source_fetch *fetch, struct tg_error *err) TG_MUST_CHECK;

#endif
