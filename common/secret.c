#include "common/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

enum { SECRET_MAX = 65536, SECRET_SMALLEST = 64 };

struct secret {
    size_t len;
    uint8_t bytes[];
};

enum tg_code secret_heap_open(size_t bytes, struct tg_error *err)
{
    int rc = CRYPTO_secure_malloc_init(bytes, SECRET_SMALLEST);
    TG_ENSURE(rc == 1, err, TG_RESOURCE_EXHAUSTED,
              "cannot lock %zu bytes of memory for keys: raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)",
              bytes);
    return TG_OK;
}

void secret_heap_close(void)
{
    CRYPTO_secure_malloc_done();
}

size_t secret_heap_used(void)
{
    return CRYPTO_secure_used();
}

struct secret *secret_new(size_t len)
{
    TG_INVARIANT(len > 0 && len <= SECRET_MAX);
    struct secret *s = OPENSSL_secure_zalloc(sizeof *s + len);
    if (s != NULL)
        s->len = len;
    return s;
}

struct secret *secret_copy(const void *bytes, size_t len)
{
    struct secret *s = secret_new(len);
    if (s != NULL)
        memcpy(s->bytes, bytes, len);
    return s;
}

struct secret *secret_random(size_t len)
{
    struct secret *s = secret_new(len);
    if (s != NULL && RAND_priv_bytes(s->bytes, (int)len) != 1) {
        secret_free(s);
        return NULL;
    }
    return s;
}

void secret_free(struct secret *s)
{
    if (s != NULL)
        OPENSSL_secure_clear_free(s, sizeof *s + s->len);
}

void secret_cleanup(struct secret **s)
{
    secret_free(*s);
    *s = NULL;
}

uint8_t *secret_bytes(struct secret *s)
{
    return s->bytes;
}

const uint8_t *secret_view(const struct secret *s)
{
    return s->bytes;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void secret_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}
