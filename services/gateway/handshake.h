/* What a connection knows until its session starts. Freed, and every secret in it wiped, when the session
 * starts or the connection closes; each secret goes earlier, as soon as its step is done (docs/keys.md). */
#ifndef TG_GATEWAY_HANDSHAKE_H
#define TG_GATEWAY_HANDSHAKE_H

#include <stdint.h>

#include "common/protocol/schedule.h"
#include "common/ticket_info.h"
#include "services/gateway/connection.h"
#include "services/gateway/policy.h"

enum handshake_limits {
    HANDSHAKE_USER_MAX = 253,  /* RFC 2865 5.1, as the next two */
    HANDSHAKE_STATE_MAX = 253, /* RADIUS State */
    HANDSHAKE_CLASS_MAX = 253, /* RADIUS Class */
    HANDSHAKE_SERVER_MAX = 255,
    HANDSHAKE_PASSWORD_MAX = 1024,
    HANDSHAKE_BANNER_MAX = 512,
    HANDSHAKE_SEALED_DIGEST_MAX = SM3_LEN + SUITE_TAG_MAX,
    SESSION_ID_LEN = 16
};

struct handshake {
    const struct suite *suite; /* from HELLO on */
    struct transcript *transcript;
    uint8_t exporter[SCHEDULE_EXPORTER_LEN];
    bool channel_due; /* AUTHENTICATED is not out yet, so the second TLS cannot begin */

    /* AUTHENTICATE (step 6), kept while the key centre is asked. */
    bool has_ticket;
    uint8_t ticket[TICKET_LEN];
    uint8_t sealed_digest[HANDSHAKE_SEALED_DIGEST_MAX];
    size_t sealed_digest_len;
    uint8_t request_id[REQUEST_ID_LEN];

    struct ticket_info info; /* shield, owner and policy; the key is never kept */
    struct schedule keys;
    struct secret *digest;  /* SM3 of the client random, from step 5 */
    bool has_client_random; /* it was revealed in step 10, for the audit log */
    uint8_t client_random[SCHEDULE_CLIENT_RANDOM_LEN];
    uint8_t th[SUITE_HASH_LEN]; /* HELLO … AUTHENTICATED */

    /* Login (steps 10 to 13). */
    char user[HANDSHAKE_USER_MAX + 1];
    uint8_t session_id[SESSION_ID_LEN];
    char session_hex[2 * SESSION_ID_LEN + 1];
    uint32_t round; /* of Access-Challenge */
    size_t radius_state_len;
    uint8_t radius_state[HANDSHAKE_STATE_MAX];
    char radius_server[HANDSHAKE_SERVER_MAX + 1];

    /* The verdict, once it is ACCEPT. */
    const struct policy *policy;
    size_t radius_class_len;
    uint8_t radius_class[HANDSHAKE_CLASS_MAX];
    bool accepted_reported; /* login.accepted is on its way to the audit log: session.ended must follow */
    uint32_t session_timeout_s, idle_timeout_s;
    char banner[HANDSHAKE_BANNER_MAX + 1];
};

/* NULL: out of memory. */
struct handshake *handshake_new(void);
void handshake_free(struct handshake *h); /* NULL is fine */

#endif
