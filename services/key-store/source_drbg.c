#include <openssl/rand.h>

#include "source.h"

static enum tg_code draw(struct source *source, struct secret *out, struct tg_error *err)
{
    TG_ENSURE(RAND_priv_bytes(secret_bytes(out), (int)secret_len(out)) == 1, err, TG_UNAVAILABLE,
              "key source %s gives no random bytes", source->name);
    return TG_OK;
}

static void close_nothing(struct source *source)
{
    (void)source;
}

struct source *source_drbg(void)
{
    static struct source drbg = {.name = "drbg", .draw = draw, .close = close_nothing};
    return &drbg;
}
