/* Filling a shield: the key store makes keys for a user who has logged in, they go durably onto the shield,
 * and only when that is confirmed do they become usable. In chunks, each of which is whole or not at all.
 *
 * Two sites: with a KME of our own the keys come from there (ETSI GS QKD 014 enc_keys); the key store is told
 * their ids alone and fetches the same keys from its KME. No key crosses the network between the sites. */
#ifndef TG_CLIENT_CHARGER_FILL_H
#define TG_CLIENT_CHARGER_FILL_H

#include "client/exit_code.h"
#include "common/etsi014/client.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "common/shield/shield.h"

struct fill_request { /* all borrowed */
    struct rpc_client *key_store;
    uint32_t timeout_ms;        /* of each call */
    struct etsi014_client *kme; /* NULL: the key store makes the keys */
    const char *slave_sae;      /* the key store's, at its KME */
    struct shield *shield;
    const char *shield_id, *user;
    const struct secret *password;
    uint32_t count, chunk;
    void (*progress)(void *arg, uint32_t filled, uint32_t count); /* after each chunk */
    bool (*stop)(void *arg); /* asked before each chunk: true ends it there */
    void *arg;
};

/* *filled: how many keys are on the shield and usable, also when it did not come to the end; err says why
 * not. EXIT_OK when stop() ended it. One thread. */
enum client_exit fill_run(const struct fill_request *request, uint32_t *filled, struct tg_error *err);

#endif
