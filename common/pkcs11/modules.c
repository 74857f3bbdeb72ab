/* PKCS#11 modules, and the token among theirs that a URI means. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pkcs11/internal.h"

bool token_is_uri(const char *text)
{
    return strncmp(text, "pkcs11:", strlen("pkcs11:")) == 0;
}

enum tg_code token_uri_parse(const char *text, P11KitUri **uri, struct tg_error *err)
{
    P11KitUri *parsed = p11_kit_uri_new();
    int rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, parsed);
    const char *wrong = NULL;
    if (rc != P11_KIT_URI_OK)
        wrong = p11_kit_uri_message(rc);
    else if (p11_kit_uri_any_unrecognized(parsed))
        wrong = "it holds a word that RFC 7512 does not know";
    else if (p11_kit_uri_get_pin_value(parsed) != NULL || p11_kit_uri_get_pin_source(parsed) != NULL)
        wrong = "a PIN has no place in it, others can read it there";
    if (wrong != NULL) {
        p11_kit_uri_free(parsed);
        return tg_fail(err, TG_INVALID_ARGUMENT,
                       "\"%.60s\" will not do as a token's URI: %.80s (example: pkcs11:token=shield-17)",
                       text, wrong);
    }
    *uri = parsed;
    return TG_OK;
}

static enum tg_code load_one(const char *path, struct modules *out, struct tg_error *err)
{
    CK_FUNCTION_LIST_PTR module = p11_kit_module_load(path, 0);
    TG_ENSURE(module != NULL, err, TG_NOT_FOUND, "cannot load the PKCS#11 module %.80s: %.120s", path,
              p11_kit_message());
    CK_RV rv = p11_kit_module_initialize(module);
    if (rv != CKR_OK) {
        p11_kit_module_release(module);
        return tg_fail(err, TG_NOT_FOUND, "the PKCS#11 module %.80s does not start: %.80s (CKR 0x%lx)", path,
                       p11_kit_strerror(rv), rv);
    }
    out->one[0] = module;
    out->list = out->one;
    return TG_OK;
}

enum tg_code modules_load(const char *path, struct modules *out, struct tg_error *err)
{
    if (path != NULL)
        return load_one(path, out, err);
    out->list = p11_kit_modules_load_and_initialize(0);
    TG_ENSURE(out->list != NULL, err, TG_NOT_FOUND, "p11-kit does not start its PKCS#11 modules: %.150s",
              p11_kit_message());
    return TG_OK;
}

void modules_unload(struct modules *modules)
{
    if (modules->list == modules->one) {
        p11_kit_module_finalize(modules->one[0]);
        p11_kit_module_release(modules->one[0]);
    } else if (modules->list != NULL) {
        p11_kit_modules_finalize_and_release(modules->list);
    }
    modules->list = NULL;
}

/* Fields of a CK_TOKEN_INFO are padded with spaces, without terminator. */
static void unpad(const unsigned char *field, size_t len, char *out)
{
    while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0'))
        len--;
    memcpy(out, field, len);
    out[len] = '\0';
}

static bool matches(const struct token *token, CK_FUNCTION_LIST_PTR calls, CK_SLOT_ID slot,
                    CK_TOKEN_INFO *info)
{
    CK_INFO module;
    CK_SLOT_INFO reader;
    return calls->C_GetTokenInfo(slot, info) == CKR_OK && (info->flags & CKF_TOKEN_INITIALIZED) != 0 &&
           p11_kit_uri_match_token_info(token->uri, info) && calls->C_GetInfo(&module) == CKR_OK &&
           p11_kit_uri_match_module_info(token->uri, &module) &&
           calls->C_GetSlotInfo(slot, &reader) == CKR_OK && p11_kit_uri_match_slot_info(token->uri, &reader);
}

/* Which of these slots, and how many fit. */
static size_t choose_slot(struct token *token, CK_FUNCTION_LIST_PTR calls, const CK_SLOT_ID *slots,
                          CK_ULONG count)
{
    size_t found = 0;
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(token->uri);
    CK_TOKEN_INFO info;
    for (CK_ULONG i = 0; i < count; i++) {
        if ((wanted != (CK_SLOT_ID)-1 && wanted != slots[i]) || !matches(token, calls, slots[i], &info))
            continue;
        found++;
        token->calls = calls;
        token->slot = slots[i];
        unpad(info.label, sizeof info.label, token->label);
        unpad(info.serialNumber, sizeof info.serialNumber, token->serial);
    }
    return found;
}

/* A module whose readers fail has no token for us. */
static size_t choose_in(struct token *token, CK_FUNCTION_LIST_PTR calls)
{
    CK_ULONG count = 0;
    if (calls->C_GetSlotList(CK_TRUE, NULL, &count) != CKR_OK || count == 0)
        return 0;
    CK_SLOT_ID *slots = calloc(count, sizeof *slots);
    size_t found = 0;
    if (slots != NULL && calls->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK)
        found = choose_slot(token, calls, slots, count);
    free(slots);
    return found;
}

enum tg_code token_choose(struct token *token, struct tg_error *err)
{
    size_t found = 0;
    for (CK_FUNCTION_LIST_PTR *module = token->modules.list; *module != NULL; module++)
        found += choose_in(token, *module);
    char *uri = NULL;
    const char *shown =
        p11_kit_uri_format(token->uri, P11_KIT_URI_FOR_TOKEN, &uri) == P11_KIT_URI_OK ? uri : "pkcs11:";
    enum tg_code code = TG_OK;
    if (found == 0)
        code = tg_fail(err, TG_NOT_FOUND,
                       "no token is %.120s: plug it in; is its PKCS#11 module known to p11-kit?", shown);
    else if (found > 1)
        code = tg_fail(err, TG_FAILED_PRECONDITION, "%zu tokens are %.120s: say which, by serial=", found,
                       shown);
    free(uri);
    return code;
}
