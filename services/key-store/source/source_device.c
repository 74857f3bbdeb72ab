#include "services/key-store/source/source_device.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "services/key-store/source/health_tests.h"
#include "services/key-store/source/noise.h"

enum { RAW_MAX = 4096, BLOCK = 32, BLOCK_ENTROPY = 256 + 64 };

struct device {
    struct noise noise;
    char *path;
    unsigned min_entropy;
    bool conditioned;
    struct health_tests tests;
    size_t startup_left; /* bytes that are tested but not used */
    struct secret *raw;
    EVP_MD_CTX *digest; /* over the block that is being gathered */
    size_t block_raw, gathered;
};

/* ---- conditioning ---- */

static enum tg_code end_block(struct device *device, uint8_t *out, struct tg_error *err)
{
    unsigned len = 0;
    int rc = EVP_DigestFinal_ex(device->digest, out, &len);
    TG_ENSURE(rc == 1 && len == BLOCK && EVP_DigestInit_ex2(device->digest, NULL, NULL) == 1, err,
              TG_INTERNAL, "SHA-256 failed");
    device->gathered = 0;
    return TG_OK;
}

/* Raw bytes in, full entropy out: at most as many, in blocks; what is over waits for the next call. */
static enum tg_code condition(struct device *device, const uint8_t *raw, size_t raw_len, struct secret *out,
                              size_t *len, struct tg_error *err)
{
    *len = 0;
    while (raw_len > 0) {
        size_t missing = device->block_raw - device->gathered;
        size_t part = raw_len < missing ? raw_len : missing;
        TG_ENSURE(EVP_DigestUpdate(device->digest, raw, part) == 1, err, TG_INTERNAL, "SHA-256 failed");
        device->gathered += part;
        raw += part;
        raw_len -= part;
        if (part < missing)
            break;
        TG_TRY(end_block(device, secret_bytes(out) + *len, err));
        *len += BLOCK;
    }
    return TG_OK;
}

static enum tg_code use(struct device *device, const uint8_t *raw, size_t raw_len, struct secret *out,
                        size_t *len, struct tg_error *err)
{
    if (!device->conditioned)
        return condition(device, raw, raw_len, out, len, err);
    memcpy(secret_bytes(out), raw, raw_len);
    *len = raw_len;
    return TG_OK;
}

/* ---- fetching ---- */

/* SP 800-90B 4.3: another source may be there after every opening. */
static enum tg_code begin(struct device *device, struct tg_error *err)
{
    health_tests_init(&device->tests, device->min_entropy);
    device->startup_left = HEALTH_STARTUP;
    device->gathered = 0;
    TG_ENSURE(EVP_DigestInit_ex2(device->digest, EVP_sha256(), NULL) == 1, err, TG_INTERNAL,
              "SHA-256 failed");
    return TG_OK;
}

static enum tg_code test(struct device *device, const uint8_t *raw, size_t len, struct tg_error *err)
{
    struct tg_error why;
    enum tg_code code = health_tests_feed(&device->tests, raw, len, &why);
    TG_ENSURE(code == TG_OK, err, code, "%s: %s; check the generator, then start the key store anew",
              device->path, why.text);
    return TG_OK;
}

static enum tg_code fetch(void *arg, struct secret *out, size_t *len, struct tg_error *err)
{
    struct device *device = arg;
    uint8_t *raw = secret_bytes(device->raw);
    *len = 0;
    while (*len == 0) {
        size_t got = 0;
        bool fresh = false;
        TG_TRY(noise_read(&device->noise, raw, RAW_MAX, &got, &fresh, err));
        if (fresh)
            TG_TRY(begin(device, err));
        TG_TRY(test(device, raw, got, err));
        size_t unused = got < device->startup_left ? got : device->startup_left;
        device->startup_left -= unused;
        if (got > unused)
            TG_TRY(use(device, raw + unused, got - unused, out, len, err));
    }
    secret_wipe(raw, RAW_MAX);
    return TG_OK;
}

static void interrupt(void *arg)
{
    struct device *device = arg;
    noise_interrupt(&device->noise);
}

/* ---- opening and closing ---- */

static void close_device(void *arg)
{
    struct device *device = arg;
    noise_fini(&device->noise);
    EVP_MD_CTX_free(device->digest);
    secret_free(device->raw);
    free(device->path);
    free(device);
}

static size_t raw_for_a_block(unsigned min_entropy)
{
    return (BLOCK_ENTROPY * 1000U + min_entropy - 1) / min_entropy;
}

enum tg_code source_device_open(const struct source_device_options *options, struct source_fetch *out,
                                struct tg_error *err)
{
    _Static_assert((int)RAW_MAX <= (int)SOURCE_FETCH_MAX, "what one read gives fits one fetch");
    TG_ENSURE(!options->conditioned || options->min_entropy == HEALTH_ENTROPY_MAX, err, TG_INVALID_ARGUMENT,
              "%s: conditioned bytes have a min_entropy of %d", options->path, HEALTH_ENTROPY_MAX);
    struct device *device = calloc(1, sizeof *device);
    TG_ENSURE(device != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for %s", options->path);
    device->noise = (struct noise){.fd = -1, .wake = -1};
    device->path = strdup(options->path);
    device->min_entropy = options->min_entropy;
    device->conditioned = options->conditioned;
    device->block_raw = raw_for_a_block(options->min_entropy);
    device->raw = secret_new(RAW_MAX);
    device->digest = EVP_MD_CTX_new();
    enum tg_code code = TG_RESOURCE_EXHAUSTED;
    if (device->path == NULL || device->raw == NULL || device->digest == NULL)
        (void)tg_fail(err, code, "no memory left to read %s: raise locked_memory", options->path);
    else
        code = noise_init(&device->noise, device->path, options->timeout_ms, err);
    if (code != TG_OK) {
        close_device(device);
        return code;
    }
    *out = (struct source_fetch){.name = options->conditioned ? "conditioned device" : "device",
                                 .arg = device,
                                 .fetch = fetch,
                                 .interrupt = interrupt,
                                 .close = close_device};
    return TG_OK;
}
