/* Opening a token: module, URI, session, PIN. */
#include "common/pkcs11/token.h"

#include <stdlib.h>

#include "common/pkcs11/internal.h"

/* Tokens count wrong PINs and say so only in their flags. */
static enum tg_code fail_login(const struct token *token, CK_RV rv, struct tg_error *err)
{
    CK_TOKEN_INFO info = {0};
    enum tg_code code = token_fail(token, rv, "logging in", err);
    if (code != TG_UNAUTHENTICATED || token->calls->C_GetTokenInfo(token->slot, &info) != CKR_OK)
        return code;
    if ((info.flags & CKF_USER_PIN_LOCKED) != 0)
        return token_fail(token, CKR_PIN_LOCKED, "logging in", err);
    if ((info.flags & CKF_USER_PIN_FINAL_TRY) != 0)
        return tg_fail(err, code, "token %s: wrong PIN. ONE try is left: one more wrong PIN locks it",
                       token->label);
    if ((info.flags & CKF_USER_PIN_COUNT_LOW) != 0)
        return tg_fail(err, code, "token %s: wrong PIN. Few tries are left before it locks", token->label);
    return code;
}

static enum tg_code log_in(struct token *token, const struct secret *pin, struct tg_error *err)
{
    CK_TOKEN_INFO info = {0};
    TOKEN_TRY(token, token->calls->C_GetTokenInfo(token->slot, &info), "asking for its state", err);
    bool keypad = (info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
    TG_ENSURE(pin != NULL || keypad, err, TG_INVALID_ARGUMENT, "token %s needs a PIN", token->label);
    CK_UTF8CHAR_PTR bytes = pin != NULL ? token_in(secret_view(pin)) : NULL;
    CK_RV rv = token->calls->C_Login(token->session, CKU_USER, bytes, pin != NULL ? secret_len(pin) : 0);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return TG_OK;
    return fail_login(token, rv, err);
}

/* Before anybody relies on it: the one operation that a key of ours is for. */
static enum tg_code check_mechanism(const struct token *token, struct tg_error *err)
{
    CK_MECHANISM_INFO info = {0};
    CK_RV rv = token->calls->C_GetMechanismInfo(token->slot, CKM_SHA256_HMAC, &info);
    if (rv == CKR_OK && (info.flags & CKF_SIGN) == 0)
        rv = CKR_MECHANISM_INVALID;
    TOKEN_TRY(token, rv, "CKM_SHA256_HMAC", err);
    return TG_OK;
}

static enum tg_code start(struct token *token, const struct token_where *where, const struct secret *pin,
                          struct tg_error *err)
{
    TG_TRY(token_uri_parse(where->uri, &token->uri, err));
    const char *module = where->module != NULL ? where->module : p11_kit_uri_get_module_path(token->uri);
    TG_TRY(modules_load(module, &token->modules, err));
    TG_TRY(token_choose(token, err));
    TG_TRY(check_mechanism(token, err));
    CK_FLAGS flags = CKF_SERIAL_SESSION | (where->read_only ? 0 : CKF_RW_SESSION);
    TOKEN_TRY(token, token->calls->C_OpenSession(token->slot, flags, NULL, NULL, &token->session),
              "opening a session", err);
    return log_in(token, pin, err);
}

enum tg_code token_open(const struct token_where *where, const struct secret *pin, struct token **out,
                        struct tg_error *err)
{
    struct token *token = calloc(1, sizeof *token);
    TG_ENSURE(token != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a token");
    enum tg_code code = start(token, where, pin, err);
    if (code != TG_OK) {
        token_close(token);
        return code;
    }
    *out = token;
    return TG_OK;
}

void token_close(struct token *token)
{
    if (token == NULL)
        return;
    if (token->session != 0)
        token->calls->C_CloseSession(token->session);
    modules_unload(&token->modules);
    p11_kit_uri_free(token->uri);
    free(token);
}

const char *token_label(const struct token *token)
{
    return token->label;
}

const char *token_serial(const struct token *token)
{
    return token->serial;
}

/* The slot as well: some modules keep a session alive that has lost its token. */
enum tg_code token_check(struct token *token, struct tg_error *err)
{
    CK_SESSION_INFO session;
    CK_SLOT_INFO slot;
    TOKEN_TRY(token, token->calls->C_GetSlotInfo(token->slot, &slot), "looking for it", err);
    CK_RV rv = (slot.flags & CKF_TOKEN_PRESENT) != 0
                   ? token->calls->C_GetSessionInfo(token->session, &session)
                   : CKR_TOKEN_NOT_PRESENT;
    TOKEN_TRY(token, rv, "looking for it", err);
    return TG_OK;
}
