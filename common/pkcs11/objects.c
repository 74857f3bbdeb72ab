/* Objects on a token: finding, reading and destroying them; data. */
#include <stdlib.h>
#include <string.h>

#include "common/pkcs11/template.h"

enum { FIND_STEP = 64 };

/* Room for FIND_STEP more. */
static bool grow(token_object **objects, size_t count)
{
    token_object *more = realloc(*objects, (count + FIND_STEP) * sizeof **objects);
    if (more == NULL)
        return false;
    *objects = more;
    return true;
}

static CK_RV find_all(struct token *token, token_object **objects, size_t *count)
{
    CK_ULONG got = FIND_STEP;
    while (got > 0) {
        if (!grow(objects, *count))
            return CKR_HOST_MEMORY;
        CK_RV rv = token->calls->C_FindObjects(token->session, *objects + *count, FIND_STEP, &got);
        if (rv != CKR_OK)
            return rv;
        *count += got;
    }
    return CKR_OK;
}

enum tg_code token_find(struct token *token, enum token_kind kind, const struct token_name *name,
                        token_object **objects, size_t *count, struct tg_error *err)
{
    struct template t = {0};
    token_object *found = NULL;
    size_t n = 0;
    template_kind(&t, kind);
    template_name(&t, name);
    TOKEN_TRY(token, token->calls->C_FindObjectsInit(token->session, t.at, t.count), "looking for objects",
              err);
    CK_RV rv = find_all(token, &found, &n);
    token->calls->C_FindObjectsFinal(token->session);
    if (rv != CKR_OK || n == 0) {
        free(found);
        found = NULL;
    }
    TOKEN_TRY(token, rv, "looking for objects", err);
    *objects = found;
    *count = n;
    return TG_OK;
}

/* The attributes object= and id= of the token's URI. `label` holds the first. */
static struct token_name name_in_uri(const struct token *token, char label[TOKEN_OBJECT_LABEL_MAX + 1])
{
    struct token_name name = {0};
    const CK_ATTRIBUTE *of_label = p11_kit_uri_get_attribute(token->uri, CKA_LABEL);
    const CK_ATTRIBUTE *of_id = p11_kit_uri_get_attribute(token->uri, CKA_ID);
    if (of_label != NULL && of_label->ulValueLen <= TOKEN_OBJECT_LABEL_MAX) {
        memcpy(label, of_label->pValue, of_label->ulValueLen);
        label[of_label->ulValueLen] = '\0';
        name.label = label;
    }
    if (of_id != NULL) {
        name.id = of_id->pValue;
        name.id_len = of_id->ulValueLen;
    }
    return name;
}

enum tg_code token_find_key(struct token *token, const struct token_name *name, token_object *key,
                            struct tg_error *err)
{
    char label[TOKEN_OBJECT_LABEL_MAX + 1];
    token_object *found = NULL;
    size_t count = 0;
    struct token_name wanted = name != NULL ? *name : name_in_uri(token, label);
    TG_ENSURE(wanted.label != NULL || wanted.id_len > 0, err, TG_INVALID_ARGUMENT,
              "token %s: which key? Add object=LABEL or id=%%XX… to its URI", token->label);
    TG_TRY(token_find(token, TOKEN_KEY, &wanted, &found, &count, err));
    if (count == 1)
        *key = found[0];
    free(found);
    TG_ENSURE(count > 0, err, TG_NOT_FOUND, "token %s: it has no generic secret key \"%.80s\"", token->label,
              wanted.label != NULL ? wanted.label : "of this id");
    TG_ENSURE(count == 1, err, TG_FAILED_PRECONDITION,
              "token %s: %zu keys are named \"%.80s\": say id= as well", token->label, count,
              wanted.label != NULL ? wanted.label : "so");
    return TG_OK;
}

enum tg_code token_get_label(struct token *token, token_object object, char label[TOKEN_OBJECT_LABEL_MAX + 1],
                             struct tg_error *err)
{
    CK_ATTRIBUTE of_label = {.type = CKA_LABEL, .pValue = label, .ulValueLen = TOKEN_OBJECT_LABEL_MAX};
    CK_RV rv = token->calls->C_GetAttributeValue(token->session, object, &of_label, 1);
    TG_ENSURE(rv != CKR_BUFFER_TOO_SMALL, err, TG_UNIMPLEMENTED,
              "token %s: an object has a label over %d bytes", token->label, TOKEN_OBJECT_LABEL_MAX);
    TOKEN_TRY(token, rv, "reading a label", err);
    TG_INVARIANT(of_label.ulValueLen <= TOKEN_OBJECT_LABEL_MAX);
    label[of_label.ulValueLen] = '\0';
    return TG_OK;
}

enum tg_code token_add_data(struct token *token, const char *label, const void *bytes, size_t len,
                            struct tg_error *err)
{
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    struct template t = {0};
    TG_INVARIANT(len > 0 && len <= TOKEN_DATA_MAX);
    template_kind(&t, TOKEN_DATA);
    template_name(&t, &(struct token_name){.label = label});
    TEMPLATE_PUT(&t, CKA_PRIVATE, token_yes);
    template_put(&t, CKA_VALUE, bytes, len);
    TOKEN_TRY(token, token->calls->C_CreateObject(token->session, t.at, t.count, &made), "adding data", err);
    return TG_OK;
}

enum tg_code token_read_data(struct token *token, token_object data, uint8_t **bytes, size_t *len,
                             struct tg_error *err)
{
    CK_ATTRIBUTE value = {.type = CKA_VALUE};
    TOKEN_TRY(token, token->calls->C_GetAttributeValue(token->session, data, &value, 1), "reading data", err);
    TG_ENSURE(value.ulValueLen <= TOKEN_DATA_MAX, err, TG_DATA_LOSS, "token %s: its data object is damaged",
              token->label);
    uint8_t *out = malloc(value.ulValueLen + 1);
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a token's data");
    value.pValue = out;
    CK_RV rv = token->calls->C_GetAttributeValue(token->session, data, &value, 1);
    if (rv != CKR_OK) {
        free(out);
        return token_fail(token, rv, "reading data", err);
    }
    *bytes = out;
    *len = value.ulValueLen;
    return TG_OK;
}

/* Tokens have several words for an object that another program destroyed a moment ago. */
static bool is_gone(struct token *token, token_object object)
{
    CK_OBJECT_CLASS class;
    CK_ATTRIBUTE of_class = {CKA_CLASS, &class, sizeof class};
    return token->calls->C_GetAttributeValue(token->session, object, &of_class, 1) ==
           CKR_OBJECT_HANDLE_INVALID;
}

enum tg_code token_destroy(struct token *token, token_object object, struct tg_error *err)
{
    CK_RV rv = token->calls->C_DestroyObject(token->session, object);
    if (rv != CKR_OK && is_gone(token, object))
        rv = CKR_OBJECT_HANDLE_INVALID;
    TOKEN_TRY(token, rv, "destroying an object", err);
    return TG_OK;
}
