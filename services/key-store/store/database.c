/* Which database: SQLite for one key store, PostgreSQL for several. */
#include "services/key-store/key-store.h"

const char *database_name(const struct key_store_config *config)
{
    return config->database != NULL ? config->database : "the PostgreSQL database";
}

enum tg_code database_open(const struct key_store_config *config, struct store **store, struct tg_error *err)
{
    const struct postgres_config *postgres = &config->postgres;
    TG_ENSURE((config->database != NULL) != (postgres->conninfo != NULL), err, TG_INVALID_ARGUMENT,
              "give either database or postgres.conninfo: %s",
              config->database != NULL ? "both are there" : "neither is there");
    if (config->database != NULL)
        return store_sqlite_open(config->database, store, err);
    return store_postgres_open(&(struct store_postgres_config){.conninfo = postgres->conninfo,
                                                               .password_file = postgres->password_file,
                                                               .wait_ms = (int)postgres->timeout},
                               store, err);
}
