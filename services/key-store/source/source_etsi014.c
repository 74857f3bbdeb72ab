#include "services/key-store/source/source_etsi014.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"
#include "services/key-store/kek/seal_at_rest.h"

struct kme_source {
    struct etsi014_client *kme;
    char slave[NAME_TEXT_MAX + 1];
};

/* Not more than the KME has, since it gives all that is asked for or nothing; 0: it does not say. */
static size_t count_for(const struct etsi014_status *status, size_t room)
{
    size_t count = room / AT_REST_KEY_LEN;
    if (status->stored_key_count > 0 && status->stored_key_count < count)
        count = status->stored_key_count;
    if (status->max_key_per_request > 0 && status->max_key_per_request < count)
        count = status->max_key_per_request;
    return count;
}

static enum tg_code draw(const struct kme_source *source, struct secret *out, size_t *len,
                         struct tg_error *err)
{
    TG_CLEANUP(etsi014_keys_fini) struct etsi014_keys keys = {0};
    struct etsi014_status status;
    TG_TRY(etsi014_get_status(source->kme, source->slave, UINT64_MAX, &status, err));
    size_t count = count_for(&status, secret_len(out));
    TG_TRY(etsi014_enc_keys(source->kme, source->slave, count, 8 * AT_REST_KEY_LEN, UINT64_MAX, &keys, err));
    *len = count * AT_REST_KEY_LEN;
    memcpy(secret_bytes(out), secret_view(keys.bytes), *len);
    return TG_OK;
}

/* A garbled answer (DATA_LOSS) says nothing about the keys that came before: only that there are none now. */
static enum tg_code fetch(void *arg, struct secret *out, size_t *len, struct tg_error *err)
{
    struct tg_error why;
    enum tg_code code = draw(arg, out, len, &why);
    if (code == TG_OK)
        return TG_OK;
    return tg_fail(err, code == TG_RESOURCE_EXHAUSTED ? code : TG_UNAVAILABLE, "%s", why.text);
}

static void interrupt(void *arg)
{
    etsi014_client_interrupt(((struct kme_source *)arg)->kme);
}

static void close_source(void *arg)
{
    struct kme_source *source = arg;
    etsi014_client_close(source->kme);
    free(source);
}

enum tg_code source_etsi014_open(const struct etsi014_peer *peer, const char *slave, struct source_fetch *out,
                                 struct tg_error *err)
{
    TG_ENSURE(slave != NULL, err, TG_INVALID_ARGUMENT,
              "source etsi014 needs kme.slave_sae: for which SAE keys are drawn");
    struct kme_source *source = calloc(1, sizeof *source);
    TG_ENSURE(source != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for key source etsi014");
    snprintf(source->slave, sizeof source->slave, "%s", slave);
    enum tg_code code = etsi014_client_open(peer, &source->kme, err);
    if (code != TG_OK) {
        free(source);
        return code;
    }
    *out = (struct source_fetch){
        .name = "etsi014", .arg = source, .fetch = fetch, .interrupt = interrupt, .close = close_source};
    return TG_OK;
}
