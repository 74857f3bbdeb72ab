/* KEKs in files: the operator's own, a mounted secret (Kubernetes and its like), or a systemd credential.
 * They are read once, and never written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/protocol/suite.h"
#include "services/key-store/kek/keyring_place.h"

/* A file that lost its content to a crash often has its length and nothing but zeros. */
static bool all_alike(const struct secret *kek)
{
    const uint8_t *bytes = secret_view(kek);
    return memcmp(bytes, bytes + 1, secret_len(kek) - 1) == 0;
}

static enum tg_code read_kek(const char *path, void **key, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *kek = NULL;
    TG_TRY(file_read_secret(path, KEK_LEN, &kek, err));
    TG_ENSURE(!all_alike(kek), err, TG_INVALID_ARGUMENT, "%s: all its bytes are the same: no key", path);
    *key = kek;
    kek = NULL;
    return TG_OK;
}

static enum tg_code open_file(const struct kek_config *config, void **key, struct tg_error *err)
{
    return read_kek(config->file, key, err);
}

/* https://systemd.io/CREDENTIALS: the variable names a directory, never a key. */
static enum tg_code open_credential(const struct kek_config *config, void **key, struct tg_error *err)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    TG_ENSURE(strchr(config->credential, '/') == NULL && config->credential[0] != '.', err,
              TG_INVALID_ARGUMENT, "a credential has a name without slashes, as LoadCredential= gives it");
    TG_ENSURE(
        directory != NULL && directory[0] == '/', err, TG_NOT_FOUND,
        "there are no credentials here ($CREDENTIALS_DIRECTORY is not set): add LoadCredential=%s:PATH to "
        "the systemd unit",
        config->credential);
    int len = snprintf(path, sizeof path, "%s/%s", directory, config->credential);
    TG_ENSURE((size_t)len < sizeof path, err, TG_INVALID_ARGUMENT, "$CREDENTIALS_DIRECTORY is too long");
    return read_kek(path, key, err);
}

static enum tg_code derive(void *key, const char *label, struct secret **out, struct tg_error *err)
{
    *out = suite_expand(suite_find(SUITE_AES256_GCM_SHA256), key, label);
    TG_ENSURE(*out != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    return TG_OK;
}

static void close_key(void *key)
{
    secret_free(key);
}

const struct kek_place kek_in_file = {.name = "file",
                                      .setting = offsetof(struct kek_config, file),
                                      .open = open_file,
                                      .derive = derive,
                                      .close = close_key};
const struct kek_place kek_in_credential = {.name = "credential",
                                            .setting = offsetof(struct kek_config, credential),
                                            .open = open_credential,
                                            .derive = derive,
                                            .close = close_key};
