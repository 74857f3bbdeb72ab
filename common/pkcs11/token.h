/* PKCS#11 tokens (OASIS PKCS#11 v2.40) through p11-kit: USB tokens that carry quantum keys, and HSMs that
 * hold key-encryption keys. A secret key never comes out of its token: HMAC-SHA-256 is done inside. A library
 * of its own (tg_pkcs11), so that programs without tokens do not load p11-kit.
 *
 * Threads: a struct token belongs to one thread at a time; each open one has its own session, so different
 * ones may be used at the same time. Open after fork() and after dropping privileges, close before exit: a
 * module may start threads of its own. Calls go to a device and block for as long as that takes.
 *
 * Errors, besides those named below, of every call that reaches the token:
 *   UNAVAILABLE         the token was pulled, or its session ended: open it again
 *   PERMISSION_DENIED   the token is write-protected, or its policy forbids it
 *   RESOURCE_EXHAUSTED  the token's memory is full, or our locked memory is
 *   UNIMPLEMENTED       the token does not do this
 *   INTERNAL            anything else: the text names the call and the code (CKR_…) */
#ifndef TG_COMMON_PKCS11_TOKEN_H
#define TG_COMMON_PKCS11_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

enum token_sizes {
    TOKEN_LABEL_MAX = 32,
    TOKEN_SERIAL_MAX = 16,
    TOKEN_OBJECT_LABEL_MAX = 255,
    TOKEN_OBJECT_ID_MAX = 255,
    TOKEN_DATA_MAX = 65536,
    TOKEN_HMAC_LEN = 32
};

struct token;

/* Where it is: an RFC 7512 URI that one present token matches ("pkcs11:token=shield-17"), and the PKCS#11
 * module that drives it. */
struct token_where {    /* borrowed */
    const char *uri;    /* may name a key as well: object=, id= (token_find_key) */
    const char *module; /* path; NULL: the URI's module-path, or else all that p11-kit is configured with */
    bool read_only;     /* nothing will be created or destroyed */
};

/* "pkcs11:…", and so no path of a file. */
bool token_is_uri(const char *text);

/* Loads the module, finds the token, logs in as its user. `pin` may be NULL for a token with its own keypad.
 * INVALID_ARGUMENT: no such URI, one with a PIN in it, or the token has no PIN yet. NOT_FOUND: module or
 * token is not there. FAILED_PRECONDITION: several tokens match. UNAUTHENTICATED: wrong PIN (the text says
 * when few tries are left). OUT_OF_RANGE: no try is left, the PIN is locked. UNIMPLEMENTED: it does no
 * CKM_SHA256_HMAC. When this process has the token open already, a module may not look at the PIN again. */
enum tg_code token_open(const struct token_where *where, const struct secret *pin, struct token **out,
                        struct tg_error *err) TG_MUST_CHECK;
void token_close(struct token *token); /* logs out with the last session; NULL is fine */

const char *token_label(const struct token *token);  /* as it was initialised; borrowed */
const char *token_serial(const struct token *token); /* the same */

/* Asks the token whether it and our session are still there: UNAVAILABLE if not. Needs no PIN. */
enum tg_code token_check(struct token *token, struct tg_error *err) TG_MUST_CHECK;

/* An object on the token: good for as long as the token is open. */
typedef unsigned long token_object;

enum token_kind {
    TOKEN_KEY, /* CKO_SECRET_KEY, CKK_GENERIC_SECRET: sensitive, not extractable, private, signs */
    TOKEN_DATA /* CKO_DATA: private */
};

struct token_name {    /* borrowed; to find: what is left out may be anything */
    const char *label; /* up to TOKEN_OBJECT_LABEL_MAX bytes; NULL: none */
    const void *id;    /* CKA_ID of a key; TOKEN_OBJECT_ID_MAX */
    size_t id_len;     /* 0: none */
};

/* All objects of this kind and name. *objects is the caller's to free() (NULL when *count is 0). */
enum tg_code token_find(struct token *token, enum token_kind kind, const struct token_name *name,
                        token_object **objects, size_t *count, struct tg_error *err) TG_MUST_CHECK;
/* The one secret key of this name; name NULL: of what the URI says (object=, id=). NOT_FOUND: none.
 * FAILED_PRECONDITION: several. */
enum tg_code token_find_key(struct token *token, const struct token_name *name, token_object *key,
                            struct tg_error *err) TG_MUST_CHECK;

/* Puts a key of ours onto the token: one object, whole or not at all. It is read back: a token that changed
 * the name, or would give the key out again, is refused (UNIMPLEMENTED) and the object destroyed. */
enum tg_code token_add_key(struct token *token, const struct token_name *name, const struct secret *value,
                           token_object *key, struct tg_error *err) TG_MUST_CHECK;
/* Makes a key of `len` bytes inside the token: it was never anywhere else. ALREADY_EXISTS: there is one of
 * this name. */
enum tg_code token_make_key(struct token *token, const struct token_name *name, size_t len, token_object *key,
                            struct tg_error *err) TG_MUST_CHECK;
/* HMAC-SHA-256 (CKM_SHA256_HMAC) with a key that stays where it is: a secret of TOKEN_HMAC_LEN bytes, the
 * caller's. NOT_FOUND: the key has been destroyed. */
enum tg_code token_hmac(struct token *token, token_object key, const void *input, size_t len,
                        struct secret **out, struct tg_error *err) TG_MUST_CHECK;

/* A data object of up to TOKEN_DATA_MAX bytes, and its content (*bytes is the caller's to free()). */
enum tg_code token_add_data(struct token *token, const char *label, const void *bytes, size_t len,
                            struct tg_error *err) TG_MUST_CHECK;
enum tg_code token_read_data(struct token *token, token_object data, uint8_t **bytes, size_t *len,
                             struct tg_error *err) TG_MUST_CHECK;

/* CKA_LABEL, terminated; a longer one is UNIMPLEMENTED. NOT_FOUND: the object has been destroyed. */
enum tg_code token_get_label(struct token *token, token_object object, char label[TOKEN_OBJECT_LABEL_MAX + 1],
                             struct tg_error *err) TG_MUST_CHECK;
/* NOT_FOUND: it was gone already; of several programs that destroy one object, one gets TG_OK. */
enum tg_code token_destroy(struct token *token, token_object object, struct tg_error *err) TG_MUST_CHECK;

#endif
