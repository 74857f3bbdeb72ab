/* Step 9: the gateway answers that the handshake is authenticated, and proves that it got the key too.
 * Without that proof login info is not sent. */
#include "client/login/handshake.h"
#include "common/pb.h"

enum tg_code proof_check(struct handshake *h, const struct wire_frame *frame, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup)
    ProtobufCMessage *message = handshake_unpack(frame, &tg__authenticated__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Authenticated *answer = (const Tg__Authenticated *)message;
    if (schedule_check_proof(h->suite, &h->schedule, h->th_proof, answer->proof.data, answer->proof.len,
                             NULL) != TG_OK)
        return handshake_fail(
            h, EXIT_GATEWAY_UNPROVEN, err, TG_UNAUTHENTICATED,
            "the gateway could not prove that it holds the quantum key: it may be an impostor. Your "
            "password was not sent; tell your operator");
    transcript_hash(h->transcript, NULL, 0, h->th_login);
    return TG_OK;
}
