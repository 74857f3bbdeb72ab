/* Step 1: the client sends the gateway a handshake message. */
#include "client/login/handshake.h"
#include "common/pb.h"

enum { PROTOCOL_VERSION = 1 };

enum tg_code hello_send(struct handshake *h, struct tg_error *err)
{
    uint32_t versions[] = {PROTOCOL_VERSION};
    uint32_t suites[LOGIN_SUITES_MAX];
    TG_INVARIANT(h->request->suite_count > 0 && h->request->suite_count <= LOGIN_SUITES_MAX);
    for (size_t i = 0; i < h->request->suite_count; i++)
        suites[i] = suite_number(h->request->suites[i]);
    uint8_t nonce[SCHEDULE_NONCE_LEN];
    random_bytes(nonce, sizeof nonce);

    Tg__Hello hello = TG__HELLO__INIT;
    hello.versions = versions;
    hello.n_versions = 1;
    hello.suites = suites;
    hello.n_suites = h->request->suite_count;
    hello.client_version = pb_string("ticketgate/" TG_VERSION);
    hello.nonce = pb_bytes(nonce, sizeof nonce);
    return handshake_send(h, FRAME_HELLO, &hello.base, err);
}
