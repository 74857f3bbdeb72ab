/* SIGHUP: certificates of the ETSI 014 server are read anew; KEKs that are new in the configuration are taken
 * up, so that rotating needs no restart. One that has gone from it, or is to lie elsewhere, stays as it is
 * until the restart. */
#include "common/log.h"
#include "services/key-store/await.h"
#include "services/key-store/key-store.h"
#include "services/key-store/store/notes.h"

static enum tg_code check_keks(void *ring, struct store *store, struct tg_error *err)
{
    return notes_check_keks(store, ring, err);
}

static void say_added(const struct keyring *ring, const struct kek_config *keks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        LOG(LOG_INFO, NULL, "kek.added", LOG_NUMBER("kek", keks[i].id),
            LOG_TEXT("place", keyring_place(ring, (uint32_t)keks[i].id)));
}

static enum tg_code add(struct key_store *ks, struct kek_config *keks, size_t count, struct tg_error *err)
{
    struct keyring *fresh = NULL;
    TG_TRY(keyring_open(&(struct config_list){keks, count}, &fresh, err));
    enum tg_code code = writer_await(ks->writer, check_keks, fresh, err);
    if (code == TG_OK)
        code = keyring_merge(ks->keyring, fresh, err);
    if (code != TG_OK)
        keyring_close(fresh);
    return code;
}

static void reload_keks(struct key_store *ks, const struct config_list *listed)
{
    struct kek_config keks[KEKS_MAX]; /* the configuration has no more */
    size_t count = 0;
    struct tg_error err;
    for (size_t i = 0; i < listed->count; i++) {
        const struct kek_config *kek = &((const struct kek_config *)listed->items)[i];
        if (keyring_place(ks->keyring, (uint32_t)kek->id) == NULL)
            keks[count++] = *kek;
    }
    if (count == 0)
        return;
    if (add(ks, keks, count, &err) == TG_OK)
        say_added(ks->keyring, keks, count);
    else
        LOG(LOG_ERROR, NULL, "kek.refused", LOG_ERR(&err), LOG_TEXT("kept", "the KEKs in use"));
}

/* Certificates of the ETSI 014 server. */
static void reload_etsi(struct key_store *ks, const struct etsi_config *config)
{
    struct tg_error err;
    if (ks->etsi != NULL && etsi_server_reload(ks->etsi, config, &err) != TG_OK)
        LOG(LOG_ERROR, NULL, "etsi014.refused", LOG_ERR(&err), LOG_TEXT("kept", "the certificates in use"));
}

void key_store_reload(void *state, const void *config_)
{
    const struct key_store_config *config = config_;
    reload_keks(state, &config->keks);
    reload_etsi(state, &config->etsi014);
}
