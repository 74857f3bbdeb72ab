/* Signed notes (c2sp.org/signed-note): a text, an empty line, and a line for each signature. Signature types:
 * 0x01 Ed25519 over the text; 0x04 and 0x06, Ed25519 and ML-DSA-44 cosignatures of a checkpoint with a time
 * (c2sp.org/tlog-cosignature), the latter where OpenSSL is 3.5 or newer. Any thread. */
#ifndef TG_AUDIT_NOTE_H
#define TG_AUDIT_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum note_sizes { NOTE_MAX = 65536, NOTE_KEYS_MAX = 8, NOTE_NAME_MAX = 128, NOTE_VKEY_MAX = 2048 };
enum note_type { NOTE_ED25519 = 0x01, NOTE_COSIGNATURE = 0x04, NOTE_ML_DSA_44 = 0x06 };

struct note_key;

struct note_keys {
    struct note_key *key[NOTE_KEYS_MAX];
    size_t count;
};
void note_keys_free(struct note_keys *keys);

/* Adds a public key: <name>+<id in hex>+<base64 of type and key>. INVALID_ARGUMENT. */
enum tg_code note_keys_add_public(struct note_keys *keys, const char *vkey,
                                  struct tg_error *err) TG_MUST_CHECK;
/* Adds a private key from a PEM file (file_read_secret) under this name: Ed25519 signs as 0x01, ML-DSA-44 as
 * 0x06. */
enum tg_code note_keys_add_private(struct note_keys *keys, const char *path, const char *name,
                                   struct tg_error *err) TG_MUST_CHECK;
/* FAILED_PRECONDITION: a name must be 1 to 128 characters without spaces, '+' and control characters. */
enum tg_code note_check_name(const char *name, struct tg_error *err) TG_MUST_CHECK;

const char *note_key_name(const struct note_key *key);
void note_key_vkey(const struct note_key *key, char out[NOTE_VKEY_MAX]);

/* The text (which ends in a line feed) signed by all of the keys; *note is the caller's to free(). */
enum tg_code note_sign(const char *text, const struct note_keys *keys, char **note,
                       struct tg_error *err) TG_MUST_CHECK;
/* Finds the text (note[0] to note[*text_len - 1]) and checks the signatures of the keys that are known, of
 * which there must be one; *signers counts them. Signatures of others are passed over. DATA_LOSS: not a note,
 * or a known key's signature is wrong. UNAUTHENTICATED: no known key has signed. */
enum tg_code note_open(const char *note, size_t len, const struct note_keys *keys, size_t *text_len,
                       size_t *signers, struct tg_error *err) TG_MUST_CHECK;

/* Base64 (RFC 4648, section 4). Decoding is strict: one encoding for each value. -1: not base64, or longer
 * than max. */
void base64_encode(const void *bytes, size_t len, char *out); /* out[4 * ((len + 2) / 3) + 1] */
long base64_decode(const char *text, size_t text_len, void *out, size_t max);

#endif
