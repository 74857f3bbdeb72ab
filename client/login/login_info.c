/* Step 10, second half: the user's login info goes through the channel, sealed with a key from the quantum
 * key, and reveals the client random that step 5 committed to. */
#include "client/login/handshake.h"
#include "common/pb.h"

static enum tg_code send_sealed(struct handshake *h, const Tg__LoginInfo *info, struct tg_error *err)
{
    size_t len = 0;
    uint8_t *plain = pb_pack(&info->base, &len);
    TG_ENSURE(plain != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    uint8_t sealed[FRAME_MAX_BEFORE_LOGIN];
    enum tg_code code = TG_OK;
    if (len + suite_tag_len(h->suite) > sizeof sealed)
        code = tg_fail(err, TG_INVALID_ARGUMENT, "user name or password is too long");
    else
        code = suite_seal(h->suite, h->schedule.login, 0, h->th_login, sizeof h->th_login, plain, len, sealed,
                          err);
    pb_buffer_free(plain, len);
    TG_TRY(code);

    Tg__Login login = TG__LOGIN__INIT;
    login.info_case = TG__LOGIN__INFO_SEALED;
    login.sealed = pb_bytes(sealed, len + suite_tag_len(h->suite));
    return handshake_send(h, FRAME_LOGIN, &login.base, err);
}

static enum tg_code send_plain(struct handshake *h, Tg__LoginInfo *info, struct tg_error *err)
{
    Tg__Login login = TG__LOGIN__INIT;
    login.info_case = TG__LOGIN__INFO_PLAIN;
    login.plain = info;
    return handshake_send(h, FRAME_LOGIN, &login.base, err);
}

enum tg_code login_info_send(struct handshake *h, struct tg_error *err)
{
    Tg__LoginInfo info = TG__LOGIN_INFO__INIT;
    info.user = pb_string(h->request->user);
    info.password = pb_bytes(secret_view(h->request->password), secret_len(h->request->password));
    info.client_random = pb_bytes(secret_view(h->client_random), secret_len(h->client_random));
    return h->request->plain_login ? send_plain(h, &info, err) : send_sealed(h, &info, err);
}
