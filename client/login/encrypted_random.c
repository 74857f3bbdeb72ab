/* Step 5: the client digests the client random with SM3 and encrypts the digest under the quantum key: a
 * commitment that login info opens later. */
#include "client/login/handshake.h"

enum tg_code encrypted_random_make(struct handshake *h, uint8_t *out, size_t *len, struct tg_error *err)
{
    uint8_t digest[SM3_LEN];
    sm3(secret_view(h->client_random), secret_len(h->client_random), digest);
    *len = sizeof digest + suite_tag_len(h->suite);
    enum tg_code code = suite_seal(h->suite, h->schedule.random, 0, h->th_ticket, sizeof h->th_ticket, digest,
                                   sizeof digest, out, err);
    secret_wipe(digest, sizeof digest);
    return code;
}
