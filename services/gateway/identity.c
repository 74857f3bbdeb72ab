/* Step 2: the client says HELLO (step 1), the gateway answers with its VPN identity, the QKUD ID. */
#include <string.h>

#include "common/pb.h"
#include "common/trace.h"
#include "proto/client.pb-c.h"
#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"

enum { VERSION = 1, OFFERS_MAX = 32, CLIENT_VERSION_MAX = 64 };

static enum tg_code check_hello(const Tg__Hello *hello, struct tg_error *err)
{
    TG_ENSURE(hello->nonce.len == SCHEDULE_NONCE_LEN, err, TG_INVALID_ARGUMENT,
              "HELLO with a nonce of %zu bytes", hello->nonce.len);
    TG_ENSURE(hello->n_versions <= OFFERS_MAX && hello->n_suites <= OFFERS_MAX, err, TG_INVALID_ARGUMENT,
              "HELLO with too many versions or suites");
    TG_ENSURE(strnlen(hello->client_version, CLIENT_VERSION_MAX + 1) <= CLIENT_VERSION_MAX, err,
              TG_INVALID_ARGUMENT, "HELLO with a client version that is too long");
    return TG_OK;
}

static bool offers(const uint32_t *list, size_t count, uint32_t wanted)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == wanted)
            return true;
    return false;
}

/* The gateway's preference decides; the choice is part of the transcript, so nobody can lower it on the way.
 */
static enum tg_code choose(const struct gateway *g, const Tg__Hello *hello, const struct suite **suite,
                           struct tg_error *err)
{
    TG_ENSURE(offers(hello->versions, hello->n_versions, VERSION), err, TG_UNIMPLEMENTED,
              "the client does not speak version 1 of the protocol");
    for (size_t i = 0; i < g->suite_count; i++) {
        *suite = g->suites[i];
        if (offers(hello->suites, hello->n_suites, suite_number(*suite)))
            return TG_OK;
    }
    return tg_fail(err, TG_UNIMPLEMENTED, "the client has none of our suites");
}

/* What is known to be missing is said now, before the client burns a ticket for nothing. */
static enum tg_code can_log_in(struct gateway *g, struct tg_error *err)
{
    const char *missing = gateway_not_serving(g);
    TG_ENSURE(missing == NULL, err, TG_UNAVAILABLE, "%s", missing);
    TG_ENSURE(!admission_sessions_full(g->admission), err, TG_RESOURCE_EXHAUSTED, "max_sessions is reached");
    return TG_OK;
}

static void send_identity(struct connection *c)
{
    const struct gateway *g = c->worker->gateway;
    struct handshake *h = c->handshake;
    uint8_t nonce[SCHEDULE_NONCE_LEN];
    size_t len;
    Tg__Identity identity = TG__IDENTITY__INIT;
    random_bytes(nonce, sizeof nonce);
    identity.version = VERSION;
    identity.qkud_id = pb_string(g->qkud_id);
    identity.nonce = pb_bytes(nonce, sizeof nonce);
    identity.suite = suite_number(h->suite);
    identity.login_must_be_sealed = g->login_must_be_sealed;
    const uint8_t *frame = connection_send_message(c, FRAME_IDENTITY, 0, &identity.base, &len);
    transcript_add(h->transcript, frame, len);
    transcript_choose(h->transcript, h->suite);
}

enum tg_code identity_on_hello(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    TG_TRY(dispatch_unpack(message, &tg__hello__descriptor, &unpacked, err));
    const Tg__Hello *hello = (const Tg__Hello *)unpacked;
    TG_TRY(check_hello(hello, err));
    TG_TRY(choose(c->worker->gateway, hello, &c->handshake->suite, err));
    TG_TRY(can_log_in(c->worker->gateway, err));
    transcript_add(c->handshake->transcript, message->frame, FRAME_HEADER_LEN + message->header.length);
    send_identity(c);
    return TG_OK;
}
