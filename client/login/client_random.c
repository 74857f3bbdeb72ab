/* Step 3: knowing whom it talks to, the client makes a client random. It stays secret until login info
 * reveals it. */
#include "client/login/handshake.h"

enum tg_code client_random_make(struct handshake *h, struct tg_error *err)
{
    h->client_random = secret_random(SCHEDULE_CLIENT_RANDOM_LEN);
    TG_ENSURE(h->client_random != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no random bytes, or out of locked memory");
    return TG_OK;
}
