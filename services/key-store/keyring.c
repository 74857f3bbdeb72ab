#include "keyring.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/protocol/labels.h"
#include "common/protocol/suite.h"

enum { FIRST_KEK = 1 };

struct keyring {
    struct secret *kek;
};

enum tg_code keyring_open(const char *kek_file, struct keyring **ring, struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *kek = NULL;
    TG_TRY(file_read_secret(kek_file, KEK_LEN, &kek, err));
    struct keyring *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the keyring");
    made->kek = kek;
    kek = NULL;
    *ring = made;
    return TG_OK;
}

void keyring_close(struct keyring *ring)
{
    if (ring == NULL)
        return;
    secret_free(ring->kek);
    free(ring);
}

uint32_t keyring_newest(const struct keyring *ring)
{
    (void)ring;
    return FIRST_KEK;
}

const struct secret *keyring_find(const struct keyring *ring, uint32_t id)
{
    return id == FIRST_KEK ? ring->kek : NULL;
}

enum tg_code keyring_check_value(const struct keyring *ring, uint32_t id, uint8_t out[KEK_CHECK_LEN],
                                 struct tg_error *err)
{
    const struct secret *kek = keyring_find(ring, id);
    TG_INVARIANT(kek != NULL);
    TG_CLEANUP(secret_cleanup)
    struct secret *check = suite_expand(suite_find(SUITE_AES256_GCM_SHA256), kek, LABEL_KEK_CHECK);
    TG_ENSURE(check != NULL, err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left for a key: raise locked_memory");
    memcpy(out, secret_view(check), KEK_CHECK_LEN);
    return TG_OK;
}
