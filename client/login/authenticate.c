/* Step 6: the client sends the encrypted random and the ticket. */
#include "client/login/handshake.h"
#include "common/pb.h"

enum tg_code authenticate_send(struct handshake *h, struct tg_error *err)
{
    uint8_t encrypted[SM3_LEN + SUITE_TAG_MAX];
    size_t len = 0;
    TG_TRY(client_random_make(h, err));
    TG_TRY(quantum_key_take(h, err));
    TG_TRY(encrypted_random_make(h, encrypted, &len, err));

    Tg__Authenticate message = TG__AUTHENTICATE__INIT;
    message.ticket = pb_bytes(shield_key_ticket(h->key), TICKET_LEN);
    message.encrypted_random = pb_bytes(encrypted, len);
    TG_TRY(handshake_send(h, FRAME_AUTHENTICATE, &message.base, err));
    transcript_hash(h->transcript, NULL, 0, h->th_proof);
    return TG_OK;
}
