/* Private keys of signed notes: apart, since who verifies needs none of it. */
#include <openssl/bio.h>
#include <openssl/pem.h>

#include "common/file.h"
#include "services/audit/log/note_key.h"

static EVP_PKEY *read_pem(const struct secret *pem)
{
    BIO *bio = BIO_new_mem_buf(secret_view(pem), (int)secret_len(pem));
    char none[] = "";
    EVP_PKEY *pkey = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, none);
    BIO_free(bio);
    return pkey;
}

enum tg_code note_keys_add_private(struct note_keys *keys, const char *path, const char *name,
                                   struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *pem = NULL;
    struct note_key *key = NULL;
    TG_TRY(file_read_secret(path, 0, &pem, err));
    TG_TRY(note_key_new(keys, name, &key, err));
    key->pkey = read_pem(pem);
    TG_ENSURE(key->pkey != NULL, err, TG_INVALID_ARGUMENT,
              "%s: is no private key in PEM that this OpenSSL can read (openssl genpkey -algorithm ed25519)",
              path);
    key->type = EVP_PKEY_is_a(key->pkey, "ML-DSA-44") ? NOTE_ML_DSA_44 : NOTE_ED25519;
    const struct note_kind *kind = note_kind(key->type);
    key->public_len = sizeof key->public;
    TG_ENSURE(EVP_PKEY_is_a(key->pkey, kind->algorithm) &&
                  EVP_PKEY_get_raw_public_key(key->pkey, key->public, &key->public_len) == 1 &&
                  key->public_len == kind->public_len,
              err, TG_INVALID_ARGUMENT, "%s: a log is signed with Ed25519 or ML-DSA-44, not with this key",
              path);
    note_key_make_id(key);
    return TG_OK;
}
