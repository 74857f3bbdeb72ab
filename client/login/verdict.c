/* Steps 12 and 13: what the intranet says to the login. In (WELCOME), or a question first (CHALLENGE, up to
 * eight), whose answer goes back sealed like login info. */
#include <string.h>

#include "client/login/handshake.h"
#include "common/pb.h"
#include "common/protocol/stream.h"
#include "common/utf8.h"

enum { QUESTION_MAX = 1024, SESSION_ID_LEN = 16 };

static enum tg_code welcome_receive(struct handshake *h, const struct wire_frame *frame, struct tg_error *err)
{
    ProtobufCMessage *message = handshake_unpack(frame, &tg__welcome__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Welcome *welcome = h->welcome = (Tg__Welcome *)message;
    TG_ENSURE(welcome->session_id.len == SESSION_ID_LEN, err, TG_INVALID_ARGUMENT,
              "the gateway's WELCOME has a session id of %zu bytes instead of %u", welcome->session_id.len,
              SESSION_ID_LEN);
    TG_ENSURE(welcome->stream_window >= STREAM_WINDOW_MIN && welcome->stream_window <= STREAM_WINDOW_MAX, err,
              TG_INVALID_ARGUMENT,
              "the gateway's WELCOME has a stream window of %u bytes; %u to %u are allowed",
              welcome->stream_window, STREAM_WINDOW_MIN, STREAM_WINDOW_MAX);
    return TG_OK;
}

static enum tg_code ask_user(struct handshake *h, const Tg__Challenge *challenge, struct tg_error *err)
{
    char question[QUESTION_MAX];
    utf8_clean(question, sizeof question, challenge->prompt, strlen(challenge->prompt), true);
    if (h->request->ask == NULL)
        return handshake_fail(h, EXIT_REFUSED, err, TG_FAILED_PRECONDITION,
                              "the gateway asks \"%s\", and there is nobody to answer", question);
    secret_free(h->answer);
    h->answer = NULL;
    enum tg_code code = h->request->ask(h->request->ask_arg, question, challenge->echo, &h->answer, err);
    if (code != TG_OK)
        h->exit = EXIT_REFUSED;
    return code;
}

static enum tg_code challenge_receive(struct handshake *h, const struct wire_frame *frame,
                                      struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup)
    ProtobufCMessage *message = handshake_unpack(frame, &tg__challenge__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Challenge *challenge = (const Tg__Challenge *)message;
    TG_ENSURE(h->round < ORDER_CHALLENGE_ROUNDS, err, TG_INVALID_ARGUMENT,
              "the gateway asked more than %u questions", ORDER_CHALLENGE_ROUNDS);
    TG_ENSURE(challenge->round == h->round + 1, err, TG_INVALID_ARGUMENT,
              "the gateway numbered its question %u instead of %u", challenge->round, h->round + 1);
    h->round = challenge->round;
    return ask_user(h, challenge, err);
}

enum tg_code verdict_receive(struct handshake *h, const struct wire_frame *frame, struct tg_error *err)
{
    return frame->header.type == FRAME_WELCOME ? welcome_receive(h, frame, err)
                                               : challenge_receive(h, frame, err);
}

enum tg_code answer_send(struct handshake *h, struct tg_error *err)
{
    size_t len = secret_len(h->answer);
    TG_ENSURE(len <= LOGIN_PASSWORD_MAX, err, TG_INVALID_ARGUMENT, "the answer is longer than %u bytes",
              LOGIN_PASSWORD_MAX);
    Tg__Answer answer = TG__ANSWER__INIT;
    uint8_t sealed[LOGIN_PASSWORD_MAX + SUITE_TAG_MAX];
    if (h->request->plain_login) {
        answer.info_case = TG__ANSWER__INFO_PLAIN;
        answer.plain = pb_bytes(secret_view(h->answer), len);
    } else {
        /* LOGIN used sequence 0 of this key; answer n uses n. */
        TG_TRY(suite_seal(h->suite, h->schedule.login, h->round, h->th_login, sizeof h->th_login,
                          secret_view(h->answer), len, sealed, err));
        answer.info_case = TG__ANSWER__INFO_SEALED;
        answer.sealed = pb_bytes(sealed, len + suite_tag_len(h->suite));
    }
    return handshake_send(h, FRAME_ANSWER, &answer.base, err);
}
