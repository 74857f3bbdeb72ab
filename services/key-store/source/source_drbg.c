#include <openssl/rand.h>
#include <stdatomic.h>

#include "services/key-store/source/source.h"

static atomic_uint_fast64_t drawn;

static enum tg_code draw(struct source *source, struct secret *out, struct tg_error *err)
{
    TG_ENSURE(RAND_priv_bytes(secret_bytes(out), (int)secret_len(out)) == 1, err, TG_UNAVAILABLE,
              "key source %s gives no random bytes", source->name);
    atomic_fetch_add(&drawn, secret_len(out));
    return TG_OK;
}

static void get_status(struct source *source, struct source_status *out)
{
    (void)source;
    *out = (struct source_status){.fetched = atomic_load(&drawn), .drawn = atomic_load(&drawn)};
}

static void close_nothing(struct source *source)
{
    (void)source;
}

struct source *source_drbg(void)
{
    static struct source drbg = {.name = "drbg", .draw = draw, .status = get_status, .close = close_nothing};
    return &drbg;
}
