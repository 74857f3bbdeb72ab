#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/protocol/frame.h"
#include "common/protocol/schedule.h"
#include "common/protocol/suite_internal.h"

/* HELLO and IDENTITY come before the suite, and so the hash, is known. */
enum { EARLY_MAX = 2 * FRAME_MAX_BEFORE_LOGIN };

struct transcript {
    const struct suite *suite; /* NULL: not chosen yet */
    EVP_MD_CTX *hash;
    EVP_MD_CTX *scratch; /* for a hash so far, while `hash` goes on */
    uint8_t *early;
    size_t early_len;
};

struct transcript *transcript_new(void)
{
    struct transcript *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->hash = EVP_MD_CTX_new();
    t->scratch = EVP_MD_CTX_new();
    t->early = malloc(EARLY_MAX);
    if (t->hash == NULL || t->scratch == NULL || t->early == NULL) {
        transcript_free(t);
        return NULL;
    }
    return t;
}

void transcript_free(struct transcript *t)
{
    if (t == NULL)
        return;
    EVP_MD_CTX_free(t->hash);
    EVP_MD_CTX_free(t->scratch);
    free(t->early);
    free(t);
}

void transcript_add(struct transcript *t, const void *frame, size_t len)
{
    TG_INVARIANT(len >= FRAME_HEADER_LEN && len <= FRAME_MAX_BEFORE_LOGIN);
    if (t->suite != NULL) {
        TG_INVARIANT(EVP_DigestUpdate(t->hash, frame, len) == 1);
        return;
    }
    TG_INVARIANT(len <= EARLY_MAX - t->early_len);
    memcpy(t->early + t->early_len, frame, len);
    t->early_len += len;
}

void transcript_choose(struct transcript *t, const struct suite *suite)
{
    TG_INVARIANT(t->suite == NULL);
    t->suite = suite;
    TG_INVARIANT(EVP_DigestInit_ex2(t->hash, suite_md(suite), NULL) == 1 &&
                 EVP_DigestUpdate(t->hash, t->early, t->early_len) == 1);
    free(t->early);
    t->early = NULL;
}

void transcript_hash(const struct transcript *t, const void *extra, size_t extra_len,
                     uint8_t out[SUITE_HASH_LEN])
{
    TG_INVARIANT(t->suite != NULL);
    TG_INVARIANT(EVP_MD_CTX_copy_ex(t->scratch, t->hash) == 1 &&
                 (extra == NULL || EVP_DigestUpdate(t->scratch, extra, extra_len) == 1) &&
                 EVP_DigestFinal_ex(t->scratch, out, NULL) == 1);
}
