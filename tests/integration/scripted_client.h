/* A client that does what a script says, wrong things included: the protocol's steps one by one, over
 * blocking sockets. It shares nothing with client/ but common/protocol, so that the two check each other.
 *
 * Functions return false when the gateway did something else, or said nothing for SCRIPTED_PATIENCE_MS; then
 * scripted_problem says what happened. One thread at a time. */
#ifndef TG_TESTS_INTEGRATION_SCRIPTED_CLIENT_H
#define TG_TESTS_INTEGRATION_SCRIPTED_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/protocol/frame.h"
#include "common/protocol/schedule.h"
#include "common/shield/shield.h"
#include "proto/client.pb-c.h"

enum { SCRIPTED_PATIENCE_MS = 30000, SCRIPTED_EVERY_SUITE = 0 };

struct scripted;

struct scripted_frame {
    struct frame_header header;
    uint8_t payload[FRAME_MAX];
};

/* What is done wrong on purpose. Zeroes: nothing. */
struct scripted_faults {
    bool other_digest_bit; /* one bit of the encrypted random is flipped */
    bool other_random;     /* LOGIN reveals a client random that was never committed to */
    bool other_psk;        /* the channel's key is not the quantum key's */
    bool pipeline;         /* another frame right behind AUTHENTICATE, in the same record */
    bool plain;            /* login info and answers are not sealed */
    bool other_login_bit;  /* one bit of the sealed login info or answer is flipped */
    uint32_t suite;        /* offer this suite alone; SCRIPTED_EVERY_SUITE: both */
    uint32_t version;      /* offer this version; 0: version 1 */
    uint32_t answer_ahead; /* added to the sequence number under which answers are sealed */
};

/* Connects to 127.0.0.1 or [::1]:port ("127.0.0.1:4433"); from: source address to bind, or NULL. NULL:
 * refused. */
struct scripted *scripted_connect(const char *gateway, const char *from);
void scripted_close(struct scripted *s); /* NULL is fine */
const char *scripted_problem(const struct scripted *s);
struct scripted_faults *scripted_faults(struct scripted *s);
int scripted_fd(const struct scripted *s);

/* ---- bytes and frames ---- */

/* On the bare connection; below TLS once that has begun. */
bool scripted_send_raw(struct scripted *s, const void *bytes, size_t len);
/* Within TLS. */
bool scripted_send_bytes(struct scripted *s, const void *bytes, size_t len);
bool scripted_send(struct scripted *s, enum frame_type type, uint32_t stream, const void *payload,
                   size_t len);
bool scripted_send_message(struct scripted *s, enum frame_type type, uint32_t stream,
                           const ProtobufCMessage *message);
bool scripted_receive(struct scripted *s, struct scripted_frame *frame);
/* The next frame must be of this type. */
bool scripted_expect(struct scripted *s, enum frame_type type, struct scripted_frame *frame);
/* The gateway closes; frames before that are thrown away. */
bool scripted_expect_close(struct scripted *s);
/* REFUSED, then close. The code, or -1. */
int scripted_expect_refused(struct scripted *s);
/* OPENED for that stream; other streams' frames and WINDOWs before it are thrown away. The code, or -1. */
int scripted_expect_opened(struct scripted *s, uint32_t stream);

/* ---- the handshake, step by step ---- */

bool scripted_tls(struct scripted *s);
bool scripted_hello(struct scripted *s);                                         /* step 1 */
bool scripted_identity(struct scripted *s);                                      /* 2 */
bool scripted_authenticate(struct scripted *s, struct shield_key *key);          /* 3 to 6 */
bool scripted_authenticated(struct scripted *s);                                 /* 9, the proof is checked */
bool scripted_channel(struct scripted *s);                                       /* 10 */
bool scripted_login(struct scripted *s, const char *user, const char *password); /* 10 */
bool scripted_answer(struct scripted *s, uint32_t round, const char *answer);
bool scripted_welcome(struct scripted *s); /* 13; scripted_terms from now on */
const Tg__Welcome *scripted_terms(const struct scripted *s);
const Tg__Identity *scripted_gateway(const struct scripted *s); /* IDENTITY */

/* The first n of: TLS, HELLO and IDENTITY, AUTHENTICATE, AUTHENTICATED, channel, LOGIN, WELCOME. */
enum scripted_stage {
    SCRIPTED_TLS,
    SCRIPTED_IDENTITY,
    SCRIPTED_AUTHENTICATE,
    SCRIPTED_AUTHENTICATED,
    SCRIPTED_CHANNEL,
    SCRIPTED_LOGIN,
    SCRIPTED_WELCOME
};
bool scripted_until(struct scripted *s, enum scripted_stage last, struct shield_key *key, const char *user,
                    const char *password);

/* ---- the session ---- */

bool scripted_open(struct scripted *s, uint32_t stream, const char *host, uint32_t port);
bool scripted_window(struct scripted *s, uint32_t stream, uint32_t credit);
bool scripted_finish(struct scripted *s, uint32_t stream, uint32_t code); /* CLOSE */
bool scripted_bye(struct scripted *s);

#endif
