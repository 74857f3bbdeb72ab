/* What the files of note.h share. */
#ifndef TG_AUDIT_NOTE_KEY_H
#define TG_AUDIT_NOTE_KEY_H

#include <openssl/evp.h>

#include "services/audit/log/note.h"

enum { NOTE_PUBLIC_MAX = 1312, NOTE_SIGNATURE_MAX = 2420, NOTE_ID_LEN = 4 };

struct note_key {
    char name[NOTE_NAME_MAX + 1];
    uint8_t id[NOTE_ID_LEN];
    uint8_t type;
    uint8_t public[NOTE_PUBLIC_MAX];
    size_t public_len;
    EVP_PKEY *pkey;
};

/* A signature type: how OpenSSL calls its keys. */
struct note_kind {
    uint8_t type;
    const char *algorithm;
    size_t public_len;
};
/* NULL: not known. */
const struct note_kind *note_kind(uint8_t type);

/* One more in the list, with its name. */
enum tg_code note_key_new(struct note_keys *keys, const char *name, struct note_key **out,
                          struct tg_error *err) TG_MUST_CHECK;
/* From name, type and public key. */
void note_key_make_id(struct note_key *key);

/* What is signed for a text at a time (0 for NOTE_ED25519); *message is the caller's to free(). */
enum tg_code note_message(const struct note_key *key, const char *text, size_t text_len, uint64_t time_s,
                          char **message, size_t *len, struct tg_error *err) TG_MUST_CHECK;

#endif
