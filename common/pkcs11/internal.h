/* What the files of tg_pkcs11 share. */
#ifndef TG_COMMON_PKCS11_INTERNAL_H
#define TG_COMMON_PKCS11_INTERNAL_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include "common/pkcs11/token.h"

struct modules {
    CK_FUNCTION_LIST_PTR *list; /* ends with NULL */
    CK_FUNCTION_LIST_PTR one[2];
};

struct token {
    P11KitUri *uri;
    struct modules modules;
    CK_FUNCTION_LIST_PTR calls; /* of the module that has it */
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session; /* 0: none */
    char label[TOKEN_LABEL_MAX + 1];
    char serial[TOKEN_SERIAL_MAX + 1];
};

/* INVALID_ARGUMENT: malformed, or with a PIN in it. *uri is the caller's: p11_kit_uri_free. */
enum tg_code token_uri_parse(const char *text, P11KitUri **uri, struct tg_error *err) TG_MUST_CHECK;

/* All modules of p11-kit's configuration, or the one at `path`, initialised. */
enum tg_code modules_load(const char *path, struct modules *out, struct tg_error *err) TG_MUST_CHECK;
void modules_unload(struct modules *modules);

/* The one present token that token->uri matches: fills in calls, slot, label and serial. */
enum tg_code token_choose(struct token *token, struct tg_error *err) TG_MUST_CHECK;

/* A CK_RV that is not CKR_OK as one of our codes, with a text: "token LABEL: what: why, what to do (CKR_…)".
 */
enum tg_code token_fail(const struct token *token, CK_RV rv, const char *what, struct tg_error *err);

#define TOKEN_TRY(token, call, what, err)                                                                    \
    do {                                                                                                     \
        CK_RV token_rv_ = (call);                                                                            \
        if (token_rv_ != CKR_OK)                                                                             \
            return token_fail(token, token_rv_, what, err);                                                  \
    } while (0)

/* PKCS#11 knows no const: for what a module only reads. */
static inline void *token_in(const void *bytes)
{
    union {
        const void *in;
        void *out;
    } both = {.in = bytes};
    return both.out;
}

#endif
