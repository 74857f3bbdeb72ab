/* The steps of the handshake and the login, one file each, in the seed's order (docs/seed.md).
 *
 * A function that fails fills in err: the code says how the client is refused (refuse.h), the text is the
 * true reason, for log and audit only. */
#ifndef TG_GATEWAY_STEPS_H
#define TG_GATEWAY_STEPS_H

#include "common/error.h"
#include "services/gateway/connection.h"
#include "services/gateway/dispatch.h"

/* identity.c: step 1's message arrives, step 2: the gateway answers with its QKUD ID. */
client_message_handler identity_on_hello;

/* key_request.c, step 7: the ticket goes to the key centre. */
client_message_handler key_request_on_authenticate;

/* handshake_proof.c, step 9: the ticket info's key opens the encrypted random; the gateway proves that it has
 * the key. */
enum tg_code handshake_proof(struct connection *c, const void *ticket_info, size_t len,
                             struct tg_error *err) TG_MUST_CHECK;

/* channel.c, step 10: the second TLS takes the place of the first one. channel_begin is called again when the
 * socket has taken more, until AUTHENTICATED has gone out whole; channel_built when the second handshake is
 * complete. */
enum tg_code channel_begin(struct connection *c, struct tg_error *err) TG_MUST_CHECK;
enum tg_code channel_built(struct connection *c, struct tg_error *err) TG_MUST_CHECK;

/* login_info.c, step 11: is it encrypted? decrypt it, and check it against step 3. */
client_message_handler login_info_on_login;
client_message_handler login_info_on_answer;

/* verdict.c, steps 11 to 13: login info over RADIUS, and the intranet's answer to the client. */
enum tg_code verdict_ask(struct connection *c, const void *password, size_t len,
                         struct tg_error *err) TG_MUST_CHECK;

/* session.c, step 14: WELCOME was sent; the handshake's memory is wiped. */
enum tg_code session_start(struct connection *c, struct tg_error *err) TG_MUST_CHECK;
client_message_handler session_on_ping, session_on_pong, session_on_bye;

/* streams.c */
client_message_handler streams_on_open, streams_on_data, streams_on_window, streams_on_close;

#endif
