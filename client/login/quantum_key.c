/* Step 4: the client takes a quantum key and its ticket from the shield. The key never comes out: the shield
 * does the one operation with it, bound to this conversation and this ticket, and everything else is derived
 * from the result. */
#include <time.h>

#include "client/login/handshake.h"

enum { RIVALS_MAX = 16 };

static enum tg_code derive(struct handshake *h, struct tg_error *err)
{
    transcript_hash(h->transcript, shield_key_ticket(h->key), TICKET_LEN, h->th_ticket);
    uint8_t input[SCHEDULE_ROOT_INPUT_LEN];
    schedule_root_input(h->th_ticket, h->exporter, input);
    TG_CLEANUP(secret_cleanup) struct secret *root = NULL;
    TG_TRY(shield_derive(h->key, h->suite, input, sizeof input, &root, err));
    return schedule_derive(h->suite, root, &h->schedule, err);
}

static enum tg_code take(struct handshake *h, struct tg_error *err)
{
    shield_key_free(h->key);
    h->key = NULL;
    enum tg_code code = shield_take(h->request->shield, (uint64_t)time(NULL), &h->key, err);
    if (code == TG_FAILED_PRECONDITION)
        return handshake_fail(h, EXIT_SHIELD_EMPTY, err, code,
                              "the shield has no keys left: have it filled at the charger (tg-charger fill)");
    return code == TG_OK ? derive(h, err) : code;
}

enum tg_code quantum_key_take(struct handshake *h, struct tg_error *err)
{
    enum tg_code code = take(h, err);
    for (unsigned i = 0; i < RIVALS_MAX && code == TG_ABORTED; i++)
        code = take(h, err); /* other programs at the same token were quicker: the next key */
    if (code != TG_OK && h->exit == EXIT_OK)
        h->exit = exit_for_shield(code);
    return code;
}
