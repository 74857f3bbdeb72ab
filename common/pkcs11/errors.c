/* What a token's answers mean for us. */
#include "common/pkcs11/internal.h"

static const struct error_row {
    CK_RV rv;
    enum tg_code code;
    const char *name, *text;
} rows[] = {
#define PULLED "it was pulled: insert it again"
    {CKR_DEVICE_REMOVED, TG_UNAVAILABLE, "CKR_DEVICE_REMOVED", PULLED},
    {CKR_TOKEN_NOT_PRESENT, TG_UNAVAILABLE, "CKR_TOKEN_NOT_PRESENT", PULLED},
    {CKR_SESSION_HANDLE_INVALID, TG_UNAVAILABLE, "CKR_SESSION_HANDLE_INVALID", PULLED},
    {CKR_SESSION_CLOSED, TG_UNAVAILABLE, "CKR_SESSION_CLOSED", PULLED},
    {CKR_SLOT_ID_INVALID, TG_UNAVAILABLE, "CKR_SLOT_ID_INVALID", PULLED},
    {CKR_USER_NOT_LOGGED_IN, TG_UNAVAILABLE, "CKR_USER_NOT_LOGGED_IN", "it has logged us out: open it again"},
    {CKR_DEVICE_ERROR, TG_UNAVAILABLE, "CKR_DEVICE_ERROR", "the device failed: pull it, insert it again"},
    {CKR_TOKEN_NOT_RECOGNIZED, TG_UNAVAILABLE, "CKR_TOKEN_NOT_RECOGNIZED",
     "the module does not know such a token: is it the right --pkcs11-module?"},
    {CKR_SESSION_COUNT, TG_UNAVAILABLE, "CKR_SESSION_COUNT", "other programs are using it: end them"},
    {CKR_PIN_INCORRECT, TG_UNAUTHENTICATED, "CKR_PIN_INCORRECT", "wrong PIN"},
    {CKR_PIN_INVALID, TG_UNAUTHENTICATED, "CKR_PIN_INVALID", "wrong PIN"},
    {CKR_PIN_LEN_RANGE, TG_UNAUTHENTICATED, "CKR_PIN_LEN_RANGE", "wrong PIN: no PIN of it has this length"},
    {CKR_PIN_LOCKED, TG_OUT_OF_RANGE, "CKR_PIN_LOCKED",
     "the PIN is locked after too many wrong ones: have it unlocked with the vendor's tool"},
    {CKR_PIN_EXPIRED, TG_INVALID_ARGUMENT, "CKR_PIN_EXPIRED",
     "the PIN has expired: set a new one with the vendor's tool"},
    {CKR_USER_PIN_NOT_INITIALIZED, TG_INVALID_ARGUMENT, "CKR_USER_PIN_NOT_INITIALIZED",
     "it has no user PIN yet: set one with the vendor's tool"},
    {CKR_FUNCTION_REJECTED, TG_UNAUTHENTICATED, "CKR_FUNCTION_REJECTED", "it was refused at the token"},
    {CKR_TOKEN_WRITE_PROTECTED, TG_PERMISSION_DENIED, "CKR_TOKEN_WRITE_PROTECTED", "it is write-protected"},
    {CKR_SESSION_READ_ONLY, TG_PERMISSION_DENIED, "CKR_SESSION_READ_ONLY", "it was opened to read only"},
    {CKR_ACTION_PROHIBITED, TG_PERMISSION_DENIED, "CKR_ACTION_PROHIBITED", "its policy forbids this"},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, TG_PERMISSION_DENIED, "CKR_KEY_FUNCTION_NOT_PERMITTED",
     "this key was not made to sign with (CKA_SIGN)"},
    {CKR_DEVICE_MEMORY, TG_RESOURCE_EXHAUSTED, "CKR_DEVICE_MEMORY", "its memory is full"},
    {CKR_HOST_MEMORY, TG_RESOURCE_EXHAUSTED, "CKR_HOST_MEMORY", "no memory left on this machine"},
    {CKR_OBJECT_HANDLE_INVALID, TG_NOT_FOUND, "CKR_OBJECT_HANDLE_INVALID", "the object has been destroyed"},
    {CKR_KEY_HANDLE_INVALID, TG_NOT_FOUND, "CKR_KEY_HANDLE_INVALID", "the key has been destroyed"},
#define CANNOT "it cannot do this: another kind of token is needed"
    {CKR_MECHANISM_INVALID, TG_UNIMPLEMENTED, "CKR_MECHANISM_INVALID", CANNOT},
    {CKR_FUNCTION_NOT_SUPPORTED, TG_UNIMPLEMENTED, "CKR_FUNCTION_NOT_SUPPORTED", CANNOT},
    {CKR_KEY_TYPE_INCONSISTENT, TG_UNIMPLEMENTED, "CKR_KEY_TYPE_INCONSISTENT",
     "HMAC needs a key of type CKK_GENERIC_SECRET"},
    {CKR_ATTRIBUTE_TYPE_INVALID, TG_UNIMPLEMENTED, "CKR_ATTRIBUTE_TYPE_INVALID", CANNOT},
    {CKR_ATTRIBUTE_VALUE_INVALID, TG_UNIMPLEMENTED, "CKR_ATTRIBUTE_VALUE_INVALID", CANNOT},
    {CKR_TEMPLATE_INCONSISTENT, TG_UNIMPLEMENTED, "CKR_TEMPLATE_INCONSISTENT", CANNOT},
    {CKR_KEY_SIZE_RANGE, TG_UNIMPLEMENTED, "CKR_KEY_SIZE_RANGE", "keys of this length are not for it"},
};

enum tg_code token_fail(const struct token *token, CK_RV rv, const char *what, struct tg_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].rv == rv)
            return tg_fail(err, rows[i].code, "token %s: %s: %s (%s)", token->label, what, rows[i].text,
                           rows[i].name);
    }
    return tg_fail(err, TG_INTERNAL, "token %s: %s: %.80s (CKR 0x%lx)", token->label, what,
                   p11_kit_strerror(rv), rv);
}
