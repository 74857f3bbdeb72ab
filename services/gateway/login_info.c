/* Step 11: is the login info encrypted? Decrypt it if so, check the client random in it against the digest of
 * step 5, and pass it on. */
#include <openssl/crypto.h>
#include <string.h>

#include "common/names.h"
#include "common/pb.h"
#include "proto/client.pb-c.h"
#include "services/gateway/handshake.h"
#include "services/gateway/steps.h"

static enum tg_code plain_is_allowed(const struct connection *c, struct tg_error *err)
{
    TG_ENSURE(!c->worker->gateway->login_must_be_sealed, err, TG_FAILED_PRECONDITION,
              "login info or an answer came plain, but login_must_be_sealed is set");
    return TG_OK;
}

static enum tg_code unseal(const struct connection *c, uint64_t sequence, const ProtobufCBinaryData *sealed,
                           struct secret **plain, struct tg_error *err)
{
    const struct handshake *h = c->handshake;
    TG_ENSURE(sealed->len > suite_tag_len(h->suite), err, TG_INVALID_ARGUMENT, "nothing is sealed in it");
    return suite_open(h->suite, h->keys.login, sequence, h->th, sizeof h->th, sealed->data, sealed->len,
                      plain, err);
}

/* The client random was committed to in step 5 and is revealed here: whoever logs in is who holds the key. */
static enum tg_code check_random(struct handshake *h, const ProtobufCBinaryData *client_random,
                                 struct tg_error *err)
{
    uint8_t digest[SM3_LEN];
    TG_ENSURE(client_random->len == SCHEDULE_CLIENT_RANDOM_LEN, err, TG_INVALID_ARGUMENT,
              "a client random of %zu bytes", client_random->len);
    sm3(client_random->data, client_random->len, digest);
    bool same =
        secret_len(h->digest) == SM3_LEN && CRYPTO_memcmp(digest, secret_view(h->digest), SM3_LEN) == 0;
    secret_wipe(digest, sizeof digest);
    secret_free(h->digest);
    h->digest = NULL;
    TG_ENSURE(same, err, TG_UNAUTHENTICATED, "the client random does not match its digest");
    memcpy(h->client_random, client_random->data, sizeof h->client_random);
    h->has_client_random = true;
    return TG_OK;
}

static enum tg_code check_user(struct handshake *h, const char *user, struct tg_error *err)
{
    TG_ENSURE(user[0] != '\0', err, TG_INVALID_ARGUMENT, "no user name");
    TG_TRY(name_check_text("user name", user, err));
    memcpy(h->user, user, strlen(user) + 1);
    TG_ENSURE(h->info.owner[0] == '\0' || strcmp(h->info.owner, user) == 0, err, TG_UNAUTHENTICATED,
              "the shield belongs to %s", h->info.owner);
    return TG_OK;
}

static enum tg_code check_password(const ProtobufCBinaryData *password, struct tg_error *err)
{
    TG_ENSURE(password->len >= 1 && password->len <= HANDSHAKE_PASSWORD_MAX, err, TG_INVALID_ARGUMENT,
              "a password or answer of %zu bytes", password->len);
    return TG_OK;
}

static enum tg_code take_login(struct connection *c, const Tg__LoginInfo *info, struct tg_error *err)
{
    struct handshake *h = c->handshake;
    TG_TRY(check_random(h, &info->client_random, err));
    TG_TRY(check_user(h, info->user, err));
    TG_TRY(check_password(&info->password, err));
    random_bytes(h->session_id, sizeof h->session_id);
    hex_encode(h->session_id, sizeof h->session_id, h->session_hex);
    return verdict_ask(c, info->password.data, info->password.len, err);
}

static enum tg_code take_sealed_login(struct connection *c, const ProtobufCBinaryData *sealed,
                                      struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *plain = NULL;
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *info = NULL;
    TG_TRY(unseal(c, 0, sealed, &plain, err));
    info = pb_unpack(&tg__login_info__descriptor, secret_view(plain), secret_len(plain));
    TG_ENSURE(info != NULL, err, TG_INVALID_ARGUMENT, "malformed login info");
    return take_login(c, (const Tg__LoginInfo *)info, err);
}

enum tg_code login_info_on_login(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    TG_TRY(dispatch_unpack(message, &tg__login__descriptor, &unpacked, err));
    const Tg__Login *login = (const Tg__Login *)unpacked;
    if (login->info_case == TG__LOGIN__INFO_SEALED)
        return take_sealed_login(c, &login->sealed, err);
    TG_ENSURE(login->info_case == TG__LOGIN__INFO_PLAIN, err, TG_INVALID_ARGUMENT,
              "LOGIN without login info");
    TG_TRY(plain_is_allowed(c, err));
    return take_login(c, login->plain, err);
}

enum tg_code login_info_on_answer(struct connection *c, const struct message *message, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *unpacked = NULL;
    TG_CLEANUP(secret_cleanup) struct secret *plain = NULL;
    TG_TRY(dispatch_unpack(message, &tg__answer__descriptor, &unpacked, err));
    const Tg__Answer *answer = (const Tg__Answer *)unpacked;
    if (answer->info_case == TG__ANSWER__INFO_SEALED) {
        /* Sequence number 0 was LOGIN, the round's number is this one's. */
        TG_TRY(unseal(c, c->handshake->round, &answer->sealed, &plain, err));
        ProtobufCBinaryData bytes = pb_bytes(secret_view(plain), secret_len(plain));
        TG_TRY(check_password(&bytes, err));
        return verdict_ask(c, bytes.data, bytes.len, err);
    }
    TG_ENSURE(answer->info_case == TG__ANSWER__INFO_PLAIN, err, TG_INVALID_ARGUMENT,
              "ANSWER without an answer");
    TG_TRY(plain_is_allowed(c, err));
    TG_TRY(check_password(&answer->plain, err));
    return verdict_ask(c, answer->plain.data, answer->plain.len, err);
}
