/* One login under way, and its units: one function and one file per step of the seed (claims 1 to 5). The
 * units know their own step only; which one comes when is login.c's business. Private to client/login and its
 * tests. */
#ifndef TG_CLIENT_LOGIN_HANDSHAKE_H
#define TG_CLIENT_LOGIN_HANDSHAKE_H

#include "client/login/login.h"
#include "client/login/wire.h"
#include "common/protocol/order.h"
#include "common/protocol/schedule.h"

struct handshake {
    const struct login_request *request;
    struct wire wire;
    enum order_state state;
    enum client_exit exit; /* set by a unit that knows better than the error's code what its failure means */

    struct transcript *transcript;
    const struct suite *suite; /* from step 2 on */
    char qkud_id[NAME_ID_MAX + 1];

    struct secret *client_random; /* step 3 */
    struct shield_key *key;       /* step 4 */
    struct schedule schedule;
    uint8_t exporter[SCHEDULE_EXPORTER_LEN]; /* of the first TLS */
    uint8_t th_ticket[SUITE_HASH_LEN];       /* HELLO, IDENTITY, ticket: aad of the encrypted random */
    uint8_t th_proof[SUITE_HASH_LEN];        /* HELLO … AUTHENTICATE: what the gateway's proof covers */
    uint8_t th_login[SUITE_HASH_LEN]; /* HELLO … AUTHENTICATED: aad of login info, identity of the channel's
                                         PSK */

    uint32_t round;        /* of CHALLENGE */
    struct secret *answer; /* to the latest CHALLENGE */
    Tg__Welcome *welcome;  /* step 13 */
};

struct login_tls {
    SSL_CTX *gateway; /* the first TLS */
    SSL_CTX *channel; /* the second */
};

/* Packs and sends one frame and adds it to the transcript (before the channel); wipes what it packed. */
enum tg_code handshake_send(struct handshake *h, enum frame_type type, const ProtobufCMessage *message,
                            struct tg_error *err) TG_MUST_CHECK;
/* Unpacks a frame's payload; NULL after filling in err: the gateway sent something malformed. pb_free it. */
ProtobufCMessage *handshake_unpack(const struct wire_frame *frame, const ProtobufCMessageDescriptor *type,
                                   struct tg_error *err);
/* tg_fail that also says how the program is to end. */
#define handshake_fail(h, how, err, code, ...) ((h)->exit = (how), tg_fail(err, code, __VA_ARGS__))

/* Before step 1: the connection and its first TLS, with the gateway's certificate checked. */
enum tg_code gateway_connect(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 1. */
enum tg_code hello_send(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 2: whom we talk to, and the suite it chose from ours. */
enum tg_code identity_receive(struct handshake *h, const struct wire_frame *frame,
                              struct tg_error *err) TG_MUST_CHECK;
/* Step 3. */
enum tg_code client_random_make(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 4: takes key and ticket from the shield and derives this login's keys; the key itself stays there. */
enum tg_code quantum_key_take(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 5: the SM3 digest of the client random, sealed. out holds SM3_LEN + SUITE_TAG_MAX bytes, *len of them
 * are used. */
enum tg_code encrypted_random_make(struct handshake *h, uint8_t *out, size_t *len,
                                   struct tg_error *err) TG_MUST_CHECK;
/* Steps 3 to 6: makes the above and sends encrypted random and ticket. */
enum tg_code authenticate_send(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 9: the gateway's answer. A gateway that cannot prove the key gets nothing more from us. */
enum tg_code proof_check(struct handshake *h, const struct wire_frame *frame,
                         struct tg_error *err) TG_MUST_CHECK;
/* Step 10, first half: the connection channel, a second TLS on the same descriptor under a PSK from the
 * quantum key. */
enum tg_code channel_build(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Step 10, second half: login info, sealed unless the user and the gateway's policy want it plain. */
enum tg_code login_info_send(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* Steps 12 and 13: WELCOME, or a question for the user. */
enum tg_code verdict_receive(struct handshake *h, const struct wire_frame *frame,
                             struct tg_error *err) TG_MUST_CHECK;
/* The user's answer to the question. */
enum tg_code answer_send(struct handshake *h, struct tg_error *err) TG_MUST_CHECK;
/* REFUSED, in any state: fills in err with the gateway's text; returns its code, never TG_OK. */
enum tg_code refused_receive(struct handshake *h, const struct wire_frame *frame,
                             struct tg_error *err) TG_MUST_CHECK;

#endif
