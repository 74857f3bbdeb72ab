/* How the key store starts, says whether it can serve, and ends. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/trace.h"
#include "services/key-store/key-store.h"
#include "services/key-store/source/health_tests.h"
#include "services/key-store/source/source_stock.h"
#include "services/key-store/store/notes.h"

#define YEAR_MS (365LL * 24 * 3600 * 1000)

const struct config_row key_store_rows[] = {
    {.key = "database",
     .type = CONFIG_PATH,
     .offset = offsetof(struct key_store_config, database),
     .fallback = CONFIG_OPTIONAL,
     .help = "The SQLite file, for one key store; made on the first start, in a directory that exists"},
    {.key = "postgres.conninfo",
     .type = CONFIG_STRING,
     .offset = offsetof(struct key_store_config, postgres.conninfo),
     .fallback = CONFIG_OPTIONAL,
     .max = 4096,
     .help = "Instead of database, for several key stores: libpq's connection string, without a password"},
    {.key = "postgres.password_file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct key_store_config, postgres.password_file),
     .fallback = CONFIG_OPTIONAL,
     .help = "Its first line is the password; mode 0400"},
    {.key = "postgres.timeout",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct key_store_config, postgres.timeout),
     .fallback = "5s",
     .min = 100,
     .max = 60000,
     .help = "How long an answer of the server may take before the connection is given up"},
    {.key = "keks",
     .type = CONFIG_TABLES,
     .offset = offsetof(struct key_store_config, keks),
     .min = 1,
     .max = KEKS_MAX,
     .item_rows = kek_rows,
     .item_size = sizeof(struct kek_config),
     .help =
         "Key-encryption keys; new keys are sealed under the one with the highest id. New ones are taken up "
         "on SIGHUP"},
    {.key = "ticket_key_file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct key_store_config, ticket_key_file),
     .help = "Authenticates tickets: 32 raw bytes, mode 0400; the ticket resolver has the same"},
    {.key = "centre_id",
     .type = CONFIG_STRING,
     .offset = offsetof(struct key_store_config, centre_id),
     .min = TICKET_CENTRE_LEN,
     .max = TICKET_CENTRE_LEN,
     .help = "Names this key centre in its tickets"},
    {.key = "key_lifetime",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct key_store_config, key_lifetime),
     .fallback = "180d",
     .min = 60000,
     .max = 10 * YEAR_MS,
     .help = "How long a new key can be spent"},
    {.key = "answer_window",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct key_store_config, answer_window),
     .fallback = "60s",
     .min = 1000,
     .max = 3600000,
     .help = "How long the same request gets the same answer to a spend"},
    {.key = "source",
     .type = CONFIG_CHOICE,
     .offset = offsetof(struct key_store_config, source.kind),
     .fallback = "drbg",
     .choices = source_kinds,
     .help = "Where new keys come from: OpenSSL's generator, a device or file with a quantum generator's "
             "bytes, or the KME of `kme`"},
    {.key = "source_stock",
     .type = CONFIG_INT,
     .offset = offsetof(struct key_store_config, source.stock),
     .fallback = "2000",
     .min = FILL_MAX,
     .max = SOURCE_STOCK_MAX / AT_REST_KEY_LEN,
     .help = "How many keys to fetch ahead from any source but drbg; a fill takes at most what is in stock"},
    {.key = "source_low_water",
     .type = CONFIG_INT,
     .offset = offsetof(struct key_store_config, source.low_water),
     .fallback = "500",
     .max = SOURCE_STOCK_MAX / AT_REST_KEY_LEN / 2,
     .help = "Below how many keys in stock operators are told; at most half of source_stock"},
    {.key = "device.path",
     .type = CONFIG_PATH,
     .offset = offsetof(struct key_store_config, source.device.path),
     .fallback = CONFIG_OPTIONAL,
     .help = "A character device, a FIFO, or a file whose bytes are taken off its end as they are used"},
    {.key = "device.min_entropy",
     .type = CONFIG_INT,
     .offset = offsetof(struct key_store_config, source.device.min_entropy),
     .fallback = "8000",
     .min = HEALTH_ENTROPY_MIN,
     .max = HEALTH_ENTROPY_MAX,
     .help = "Assessed min-entropy of one byte (NIST SP 800-90B 3), in thousandths of a bit"},
    {.key = "device.conditioned",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct key_store_config, source.device.conditioned),
     .fallback = "false",
     .help = "The bytes are full entropy already and used as they are; otherwise SHA-256 makes keys of them"},
    {.key = "device.timeout",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct key_store_config, source.device.timeout),
     .fallback = "5s",
     .min = 100,
     .max = 3600000,
     .help = "How long the device may be silent before that is an error"},
    ETSI014_PEER_ROWS("kme.", struct key_store_config, source.kme.peer),
    {.key = "kme.slave_sae",
     .type = CONFIG_STRING,
     .offset = offsetof(struct key_store_config, source.kme.slave_sae),
     .fallback = CONFIG_OPTIONAL,
     .max = NAME_TEXT_MAX,
     .help = "With source etsi014: the SAE for which keys are drawn; nobody needs to fetch them there"},
    {.key = "kme.master_sae",
     .type = CONFIG_STRING,
     .offset = offsetof(struct key_store_config, source.kme.master_sae),
     .fallback = CONFIG_OPTIONAL,
     .max = NAME_TEXT_MAX,
     .help = "The SAE of chargers that draw keys from a KME of their own: we adopt these by their key ids"},
    RPC_PEER_ROWS("radius_bridge.", struct key_store_config, radius_bridge),
    AUDIT_SERVICES_ROWS(struct key_store_config, audit),
    ETSI_ROWS("etsi014.", struct key_store_config, etsi014),
    {.key = NULL},
};

static uint64_t unix_now_s(void)
{
    return clock_unix_us() / 1000000;
}

/* ---- is this database ours? ---- */

static enum tg_code check_notes(struct key_store *ks, const struct key_store_config *config,
                                struct tg_error *err)
{
    bool same;
    TG_TRY(note_check(ks->store, "centre", ks->centre, sizeof ks->centre, &same, err));
    TG_ENSURE(same, err, TG_FAILED_PRECONDITION,
              "%s belongs to another centre than %s: correct centre_id or database", database_name(config),
              config->centre_id);
    TG_TRY(notes_check_keks(ks->store, ks->keyring, err));
    return notes_check_none_missing(ks->store, ks->keyring, err);
}

static enum tg_code check_ours(struct key_store *ks, const struct key_store_config *config,
                               struct tg_error *err)
{
    struct store *store = ks->store;
    TG_TRY(store->ops->begin(store, err));
    enum tg_code code = check_notes(ks, config, err);
    if (code == TG_OK)
        return store->ops->commit(store, err);
    store->ops->rollback(store);
    return code;
}

/* ---- for struct service ---- */

static enum tg_code acquire(struct key_store *ks, const struct key_store_config *config, struct tg_error *err)
{
    TG_TRY(keyring_open(&config->keks, &ks->keyring, err));
    TG_TRY(file_read_secret(config->ticket_key_file, TICKET_KEY_LEN, &ks->ticket_key, err));
    TG_TRY(database_open(config, &ks->store, err));
    TG_TRY(check_ours(ks, config, err));
    TG_TRY(audit_client_open(&ks->audit, "key-store", &config->audit, err));
    TG_TRY(key_store_open_source(ks, &config->source, err));
    TG_TRY(rpc_client_open(&ks->bridge, "radius bridge", &config->radius_bridge, err));
    if (config->source.kme.master_sae != NULL)
        TG_TRY(adopter_open(&config->source.kme.peer, config->source.kme.master_sae, &ks->adopter, err));
    return config->etsi014.listen != NULL ? etsi_server_open(&ks->etsi, ks, &config->etsi014, err) : TG_OK;
}

enum tg_code key_store_open(const void *config_, void **state, struct tg_error *err)
{
    const struct key_store_config *config = config_;
    struct key_store *ks = calloc(1, sizeof *ks);
    TG_ENSURE(ks != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    signal(SIGXFSZ,
           SIG_IGN); /* a quota that is used up is an error of the write, not the end of the process */
    memcpy(ks->centre, config->centre_id, sizeof ks->centre);
    ks->key_lifetime_s = (uint64_t)config->key_lifetime / 1000;
    ks->answer_window_s = (uint64_t)config->answer_window / 1000;
    ks->now_s = unix_now_s;
    enum tg_code code = acquire(ks, config, err);
    if (code == TG_OK)
        *state = ks;
    else
        key_store_close(ks);
    return code;
}

static enum tg_code tick(void *arg, struct store *store, bool *more, struct tg_error *err)
{
    const struct key_store *ks = arg;
    uint64_t now_s = ks->now_s();
    return store->ops->upkeep(store,
                              &(struct store_upkeep){.now_s = now_s,
                                                     .answers_before_s = now_s - ks->answer_window_s,
                                                     .fills_before_s = now_s - FILL_CONFIRM_WINDOW_S},
                              more, err);
}

enum tg_code key_store_start(void *state, struct tg_error *err)
{
    struct key_store *ks = state;
    if (ks->source->start != NULL)
        TG_TRY(ks->source->start(ks->source, err));
    TG_TRY(writer_start(ks->store, &(struct writer_tick){.apply = tick, .arg = ks}, &ks->writer, err));
    TG_TRY(rotation_start(ks->writer, ks->keyring, ks->audit, &ks->rotation, err));
    if (ks->adopter != NULL)
        TG_TRY(adopter_start(ks->adopter, err));
    return ks->etsi != NULL ? etsi_server_start(ks->etsi, err) : TG_OK;
}

/* Without the RADIUS bridge shields cannot be filled, but keys can be spent: that is still serving. */
const char *key_store_not_serving(void *state)
{
    const struct key_store *ks = state;
    const char *problem = ks->writer != NULL ? writer_problem(ks->writer) : "the writer has not been started";
    return problem != NULL ? problem : audit_client_trouble(ks->audit);
}

/* In the order in which calls flow, so that each finds the next still there. */
void key_store_close(void *state)
{
    enum { AUDIT_WAIT_MS = 2000 };
    struct key_store *ks = state;
    rpc_client_close(ks->bridge);
    rotation_stop(ks->rotation);
    adopter_close(ks->adopter);
    etsi_server_stop(ks->etsi);
    writer_stop(ks->writer);
    if (ks->source != NULL)
        ks->source->close(ks->source);
    audit_client_close(ks->audit, AUDIT_WAIT_MS);
    etsi_server_close(ks->etsi);
    if (ks->store != NULL)
        ks->store->ops->close(ks->store);
    secret_free(ks->ticket_key);
    keyring_close(ks->keyring);
    free(ks);
}
