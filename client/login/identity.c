/* Step 2: the gateway says who it is in the quantum-key system (QKUD ID), and which of our suites it takes.
 */
#include <stdio.h>
#include <string.h>

#include "client/login/handshake.h"
#include "common/names.h"
#include "common/pb.h"

enum { PROTOCOL_VERSION = 1 };

static bool offered(const struct login_request *request, const struct suite *suite)
{
    for (size_t i = 0; i < request->suite_count; i++) {
        if (request->suites[i] == suite)
            return true;
    }
    return false;
}

static enum tg_code check(struct handshake *h, const Tg__Identity *identity, struct tg_error *err)
{
    TG_ENSURE(identity->version == PROTOCOL_VERSION, err, TG_INVALID_ARGUMENT,
              "the gateway speaks protocol version %u; this client speaks %u", identity->version,
              PROTOCOL_VERSION);
    TG_ENSURE(identity->nonce.len == SCHEDULE_NONCE_LEN, err, TG_INVALID_ARGUMENT,
              "the gateway's IDENTITY has a nonce of %zu bytes instead of %u", identity->nonce.len,
              SCHEDULE_NONCE_LEN);
    TG_TRY(name_check_id("the gateway's QKUD ID", identity->qkud_id, err));
    const struct suite *suite = suite_find(identity->suite);
    TG_ENSURE(suite != NULL && offered(h->request, suite), err, TG_INVALID_ARGUMENT,
              "the gateway chose suite %u, which this client did not offer", identity->suite);
    return TG_OK;
}

/* What the user's own settings demand of the gateway. Checked before a key is taken from the shield. */
static enum tg_code check_wishes(struct handshake *h, const Tg__Identity *identity, struct tg_error *err)
{
    const char *wanted = h->request->qkud_id;
    if (wanted != NULL && strcmp(wanted, identity->qkud_id) != 0)
        return handshake_fail(h, EXIT_CONFIG, err, TG_FAILED_PRECONDITION,
                              "the gateway calls itself %s, but --qkud asks for %s", h->qkud_id, wanted);
    if (identity->login_must_be_sealed && h->request->plain_login)
        return handshake_fail(h, EXIT_CONFIG, err, TG_FAILED_PRECONDITION,
                              "this gateway takes sealed login info only: leave out --plain-login");
    return TG_OK;
}

enum tg_code identity_receive(struct handshake *h, const struct wire_frame *frame, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup)
    ProtobufCMessage *message = handshake_unpack(frame, &tg__identity__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Identity *identity = (const Tg__Identity *)message;
    TG_TRY(check(h, identity, err));
    snprintf(h->qkud_id, sizeof h->qkud_id, "%s", identity->qkud_id);
    TG_TRY(check_wishes(h, identity, err));
    h->suite = suite_find(identity->suite);
    transcript_choose(h->transcript, h->suite);
    return TG_OK;
}
