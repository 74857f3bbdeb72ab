/* Secret keys that stay in their token. */
#include <stdlib.h>
#include <string.h>

#include "common/pkcs11/template.h"

static struct template new_key(const struct token_name *name)
{
    struct template t = {0};
    template_kind(&t, TOKEN_KEY);
    template_name(&t, name);
    TEMPLATE_PUT(&t, CKA_PRIVATE, token_yes);
    TEMPLATE_PUT(&t, CKA_SENSITIVE, token_yes);
    TEMPLATE_PUT(&t, CKA_EXTRACTABLE, token_no);
    TEMPLATE_PUT(&t, CKA_SIGN, token_yes);
    return t;
}

static bool is_kept(struct token *token, token_object key)
{
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
    CK_ATTRIBUTE at[] = {{CKA_SENSITIVE, &sensitive, sizeof sensitive},
                         {CKA_EXTRACTABLE, &extractable, sizeof extractable}};
    return token->calls->C_GetAttributeValue(token->session, key, at, 2) == CKR_OK && sensitive == CK_TRUE &&
           extractable == CK_FALSE;
}

/* Some tokens take any template and do as they like. */
static enum tg_code check_made(struct token *token, const struct token_name *name, token_object key,
                               struct tg_error *err)
{
    char label[TOKEN_OBJECT_LABEL_MAX + 1];
    TG_ENSURE(is_kept(token, key), err, TG_UNIMPLEMENTED,
              "token %s: it does not keep keys to itself (CKA_SENSITIVE, CKA_EXTRACTABLE): use another",
              token->label);
    if (name->label == NULL)
        return TG_OK;
    TG_TRY(token_get_label(token, key, label, err));
    TG_ENSURE(strcmp(label, name->label) == 0, err, TG_UNIMPLEMENTED,
              "token %s: it cuts labels off (CKA_LABEL of %zu bytes): use another", token->label,
              strlen(name->label));
    return TG_OK;
}

static enum tg_code keep_made(struct token *token, const struct token_name *name, token_object made,
                              token_object *key, struct tg_error *err)
{
    enum tg_code code = check_made(token, name, made, err);
    if (code == TG_OK)
        *key = made;
    else
        token->calls->C_DestroyObject(token->session, made);
    return code;
}

enum tg_code token_add_key(struct token *token, const struct token_name *name, const struct secret *value,
                           token_object *key, struct tg_error *err)
{
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct template t = new_key(name);
    template_put(&t, CKA_VALUE, secret_view(value), secret_len(value));
    TOKEN_TRY(token, token->calls->C_CreateObject(token->session, t.at, t.count, &made), "adding a key", err);
    return keep_made(token, name, made, key, err);
}

enum tg_code token_make_key(struct token *token, const struct token_name *name, size_t len, token_object *key,
                            struct tg_error *err)
{
    token_object *found = NULL;
    size_t count = 0;
    TG_TRY(token_find(token, TOKEN_KEY, name, &found, &count, err));
    free(found);
    TG_ENSURE(count == 0, err, TG_ALREADY_EXISTS, "token %s: a key named \"%.80s\" is there already",
              token->label, name->label != NULL ? name->label : "so");
    CK_MECHANISM mechanism = {.mechanism = CKM_GENERIC_SECRET_KEY_GEN};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    CK_ULONG value_len = len;
    struct template t = new_key(name);
    TEMPLATE_PUT(&t, CKA_VALUE_LEN, value_len);
    TOKEN_TRY(token, token->calls->C_GenerateKey(token->session, &mechanism, t.at, t.count, &made),
              "making a key", err);
    return keep_made(token, name, made, key, err);
}

enum tg_code token_hmac(struct token *token, token_object key, const void *input, size_t len,
                        struct secret **out, struct tg_error *err)
{
    CK_MECHANISM mechanism = {.mechanism = CKM_SHA256_HMAC};
    TG_CLEANUP(secret_cleanup) struct secret *mac = secret_new(TOKEN_HMAC_LEN);
    TG_ENSURE(mac != NULL, err, TG_RESOURCE_EXHAUSTED, "no locked memory left for a key (ulimit -l)");
    CK_ULONG mac_len = TOKEN_HMAC_LEN;
    TOKEN_TRY(token, token->calls->C_SignInit(token->session, &mechanism, key), "HMAC", err);
    TOKEN_TRY(token, token->calls->C_Sign(token->session, token_in(input), len, secret_bytes(mac), &mac_len),
              "HMAC", err);
    TG_ENSURE(mac_len == TOKEN_HMAC_LEN, err, TG_UNIMPLEMENTED, "token %s: its HMAC-SHA-256 has %lu bytes",
              token->label, mac_len);
    *out = mac;
    mac = NULL;
    return TG_OK;
}
