#include "services/gateway/handshake.h"

#include <stdlib.h>

struct handshake *handshake_new(void)
{
    struct handshake *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->transcript = transcript_new();
    if (h->transcript == NULL) {
        free(h);
        return NULL;
    }
    return h;
}

void handshake_free(struct handshake *h)
{
    if (h == NULL)
        return;
    transcript_free(h->transcript);
    schedule_wipe(&h->keys);
    secret_free(h->digest);
    secret_wipe(h, sizeof *h);
    free(h);
}
