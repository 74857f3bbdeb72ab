#include "common/pkcs11/template.h"

#include <string.h>

const CK_BBOOL token_yes = CK_TRUE, token_no = CK_FALSE;
static const CK_OBJECT_CLASS class_key = CKO_SECRET_KEY, class_data = CKO_DATA;
static const CK_KEY_TYPE generic_secret = CKK_GENERIC_SECRET;
static const char application[] = "ticketgate";

void template_put(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    TG_INVARIANT(t->count < TEMPLATE_MAX);
    t->at[t->count++] = (CK_ATTRIBUTE){.type = type, .pValue = token_in(value), .ulValueLen = len};
}

void template_name(struct template *t, const struct token_name *name)
{
    if (name->label != NULL)
        template_put(t, CKA_LABEL, name->label, strlen(name->label));
    if (name->id_len > 0)
        template_put(t, CKA_ID, name->id, name->id_len);
}

void template_kind(struct template *t, enum token_kind kind)
{
    TEMPLATE_PUT(t, CKA_TOKEN, token_yes);
    if (kind == TOKEN_KEY) {
        TEMPLATE_PUT(t, CKA_CLASS, class_key);
        TEMPLATE_PUT(t, CKA_KEY_TYPE, generic_secret);
    } else {
        TEMPLATE_PUT(t, CKA_CLASS, class_data);
        template_put(t, CKA_APPLICATION, application, strlen(application));
    }
}
