/* Lists of attributes: what an object is to be, or is to be found by. */
#ifndef TG_COMMON_PKCS11_TEMPLATE_H
#define TG_COMMON_PKCS11_TEMPLATE_H

#include "common/pkcs11/internal.h"

enum { TEMPLATE_MAX = 12 };

struct template
{
    CK_ATTRIBUTE at[TEMPLATE_MAX]; /* values are borrowed */
    CK_ULONG count;
};

extern const CK_BBOOL token_yes, token_no;

void template_put(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len);
#define TEMPLATE_PUT(t, type, value) template_put(t, type, &(value), sizeof(value))

/* What all our objects of a kind have in common. */
void template_kind(struct template *t, enum token_kind kind);
/* What `name` has of label and id. */
void template_name(struct template *t, const struct token_name *name);

#endif
