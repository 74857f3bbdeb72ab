/* The key store: makes, holds and spends quantum keys (DESIGN.md 5, docs/key-centre.md). What its files
 * share. */
#ifndef TG_KEY_STORE_KEY_STORE_H
#define TG_KEY_STORE_KEY_STORE_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/audit_client.h"
#include "common/config.h"
#include "common/error.h"
#include "common/etsi014/client.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "common/service/service.h"
#include "common/ticket.h"
#include "proto/key_store.pb-c.h"
#include "services/key-store/adopt.h"
#include "services/key-store/etsi/etsi_server.h"
#include "services/key-store/kek/keyring.h"
#include "services/key-store/kek/rotation.h"
#include "services/key-store/source/source.h"
#include "services/key-store/store/store.h"
#include "services/key-store/store/writer.h"

enum key_store_limits {
    FILL_MAX = 1000,                   /* keys at once; also what one RPC message holds */
    FILL_CONFIRM_WINDOW_S = 24 * 3600, /* a fill that is not confirmed by then lapses */
    PASSWORD_MAX = 1024
};

/* sources.c */
enum source_kind { SOURCE_DRBG, SOURCE_DEVICE, SOURCE_ETSI014 };
extern const char *const source_kinds[];
struct source_config {
    int kind;                 /* enum source_kind */
    int64_t stock, low_water; /* keys */
    struct {
        char *path;
        int64_t min_entropy; /* thousandths of a bit for each byte */
        bool conditioned;
        int64_t timeout; /* ms */
    } device;
    struct {
        struct etsi014_peer peer;
        char *slave_sae;  /* for source: etsi014 */
        char *master_sae; /* whose keys are adopted */
    } kme;
};

struct postgres_config {
    char *conninfo;
    char *password_file; /* may be NULL */
    int64_t timeout;     /* ms */
};

struct key_store_config {
    struct service_config service;
    char *database; /* or postgres.conninfo; the other is NULL */
    struct postgres_config postgres;
    struct config_list keks; /* struct kek_config */
    char *ticket_key_file;
    char *centre_id;
    int64_t key_lifetime;  /* ms */
    int64_t answer_window; /* ms */
    struct source_config source;
    struct rpc_peer radius_bridge;
    struct audit_services audit;
    struct etsi_config etsi014;
};

/* The context of every call. */
struct key_store {
    struct store *store; /* the writer's, once it runs */
    struct writer *writer;
    struct keyring *keyring;
    struct rotation *rotation;
    struct secret *ticket_key;
    struct source *source;
    struct audit_client *audit;
    struct rpc_client *bridge;
    struct etsi_server *etsi; /* NULL: not served */
    struct adopter *adopter;  /* NULL: no KME to adopt keys from */
    uint8_t centre[TICKET_CENTRE_LEN];
    uint64_t key_lifetime_s;
    uint64_t answer_window_s;
    atomic_uint_fast64_t keys_made, keys_spent; /* since the start */
    uint64_t (*now_s)(void);                    /* Unix time; tests set it */
};

/* lifecycle.c: for struct service. */
extern const struct config_row key_store_rows[];
enum tg_code key_store_open(const void *config, void **state, struct tg_error *err);
enum tg_code key_store_start(void *state, struct tg_error *err);
void key_store_reload(void *state, const void *config); /* reload.c */
const char *key_store_not_serving(void *state);
void key_store_metrics(void *state, struct metrics *out); /* metrics.c */
void key_store_close(void *state);

/* sources.c: sets ks->source. Its events go to ks->audit, which must be open. */
enum tg_code key_store_open_source(struct key_store *ks, const struct source_config *config,
                                   struct tg_error *err) TG_MUST_CHECK;

/* database.c: the one that is configured. Its name stands in messages. */
enum tg_code database_open(const struct key_store_config *config, struct store **store,
                           struct tg_error *err) TG_MUST_CHECK;
const char *database_name(const struct key_store_config *config);

/* find.c */
/* The key id that one of the two gives; the other is empty. INVALID_ARGUMENT. */
enum tg_code key_named(const ProtobufCBinaryData *id, const ProtobufCBinaryData *ticket,
                       uint8_t key_id[TICKET_KEY_ID_LEN], struct tg_error *err) TG_MUST_CHECK;
void key_message(const struct store_key *key, Tg__Key *out); /* borrows from `key` */

/* handlers.c: the table. */
extern const struct rpc_method key_store_methods[];

/* Its rows. Each takes the call over and answers it later (or at once, when the request is refused). */
rpc_handler handle_spend;                                               /* spend.c */
rpc_handler handle_fill;                                                /* fill_request.c */
rpc_handler handle_confirm;                                             /* confirm.c */
rpc_handler handle_qkud_add, handle_qkud_revoke;                        /* registry.c */
rpc_handler handle_shield_add, handle_shield_revoke, handle_key_revoke; /* registry.c */
rpc_handler handle_qkud_list, handle_shield_list, handle_key_list;      /* lists.c */
rpc_handler handle_kek_list, handle_kek_rotate;                         /* keks.c */
rpc_handler handle_key_find;                                            /* find.c */
rpc_handler handle_source_status;                                       /* sources.c */

#endif
