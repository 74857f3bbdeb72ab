#include <stdio.h>

#include "services/key-store/store/sqlite.h"

/* "TGKS": says whose database this is, whatever its name. */
#define APPLICATION_ID 0x54474b53
#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* A key's row keeps what happened to it; what could open it (kek, wrapped, sealed) goes when it is spent,
 * revoked or expired, and the CHECK holds every path to that. Keys of one fill lie together, as they are
 * later spent, so a spend changes few pages. The counters are kept by triggers, so that no path forgets them.
 */
static const char version_1[] =
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE qkuds ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 64),"
    " description TEXT NOT NULL,"
    " created_s INTEGER NOT NULL,"
    " revoked_s INTEGER,"
    " kek INTEGER, wrapped BLOB, sealed BLOB,"
    " CHECK ((wrapped IS NULL) = (revoked_s IS NOT NULL))"
    ") STRICT;"
    "CREATE TABLE shields ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 64),"
    " owner TEXT NOT NULL,"
    " policy TEXT NOT NULL,"
    " created_s INTEGER NOT NULL,"
    " revoked_s INTEGER,"
    " made INTEGER NOT NULL DEFAULT 0 CHECK (made >= 0),"
    " ready INTEGER NOT NULL DEFAULT 0 CHECK (ready >= 0),"
    " spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0)"
    ") STRICT;"
    "CREATE TABLE fills ("
    " seq INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),"
    " request_id BLOB NOT NULL UNIQUE CHECK (length(request_id) = 16),"
    " shield INTEGER NOT NULL REFERENCES shields,"
    " created_s INTEGER NOT NULL,"
    " expires_s INTEGER NOT NULL,"
    " confirmed_s INTEGER,"
    " ready INTEGER NOT NULL DEFAULT 0,"
    " closed INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1))" /* lapsed or expired: upkeep has been here
                                                                   */
    ") STRICT;"
    "CREATE INDEX fills_unconfirmed ON fills (created_s) WHERE closed = 0 AND confirmed_s IS NULL;"
    "CREATE INDEX fills_open ON fills (expires_s) WHERE closed = 0;"
    "CREATE TABLE keys ("
    " seq INTEGER PRIMARY KEY,"
    " key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),"
    " shield INTEGER NOT NULL REFERENCES shields,"
    " fill INTEGER NOT NULL REFERENCES fills,"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4)," /* enum key_state */
    " kek INTEGER, wrapped BLOB, sealed BLOB,"
    " spent_s INTEGER,"
    " spent_by INTEGER REFERENCES qkuds,"
    " request_id BLOB,"
    " answer INTEGER,"
    " CHECK ((wrapped IS NOT NULL) = (state IN (0, 1))),"
    " CHECK ((sealed IS NOT NULL) = (state IN (0, 1))),"
    " CHECK ((spent_s IS NOT NULL) = (state = 2))"
    ") STRICT;"
    "CREATE INDEX keys_of_shield ON keys (shield);"
    "CREATE INDEX keys_of_fill ON keys (fill);"
    "CREATE TABLE answers ("
    " seq INTEGER PRIMARY KEY,"
    " key INTEGER NOT NULL," /* numbers are used again: both must match */
    " made_s INTEGER NOT NULL,"
    " answer BLOB NOT NULL"
    ") STRICT;"
    "CREATE TRIGGER key_made AFTER INSERT ON keys BEGIN"
    " UPDATE shields SET made = made + 1 WHERE seq = new.shield;"
    " END;"
    "CREATE TRIGGER key_moved AFTER UPDATE OF state ON keys BEGIN"
    " UPDATE shields SET made = made - (old.state = 0) + (new.state = 0),"
    "  ready = ready - (old.state = 1) + (new.state = 1), spent = spent + (new.state = 2) - (old.state = 2)"
    " WHERE seq = new.shield;"
    " END;"
    "PRAGMA application_id = " TEXT_OF(APPLICATION_ID) ";";

/* Rotation finds what lies under an old KEK; keys that a master SAE has and its slave has not taken. */
static const char version_2[] = "CREATE INDEX keys_of_kek ON keys (kek) WHERE kek IS NOT NULL;"
                                "CREATE TABLE sae_keys ("
                                " seq INTEGER PRIMARY KEY,"
                                " key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),"
                                " master TEXT NOT NULL CHECK (length(master) BETWEEN 1 AND 64),"
                                " slave TEXT NOT NULL CHECK (length(slave) BETWEEN 1 AND 64),"
                                " bits INTEGER NOT NULL CHECK (bits BETWEEN 64 AND 256 AND bits % 8 = 0),"
                                " created_s INTEGER NOT NULL,"
                                " expires_s INTEGER NOT NULL,"
                                " kek INTEGER NOT NULL, wrapped BLOB NOT NULL, sealed BLOB NOT NULL"
                                ") STRICT;"
                                "CREATE INDEX sae_keys_of_pair ON sae_keys (master, slave);"
                                "CREATE INDEX sae_keys_by_expiry ON sae_keys (expires_s);"
                                "CREATE INDEX sae_keys_of_kek ON sae_keys (kek);";

/* What leads from each version to the next; what has been released is never edited. */
static const char *const steps[] = {version_1, version_2};
enum { SCHEMA_VERSION = sizeof steps / sizeof *steps };

enum tg_code sqlite_schema_check(struct sqlite *s, struct tg_error *err)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t pages = 0;
    TG_TRY(sql_number(s, "PRAGMA page_count", &pages, err));
    TG_ENSURE(pages > 0, err, TG_DATA_LOSS, "%s is empty: restore it, or remove it to start without any key",
              s->path);
    TG_TRY(sql_number(s, "PRAGMA application_id", &application, err));
    TG_TRY(sql_number(s, "PRAGMA user_version", &version, err));
    TG_ENSURE(application == APPLICATION_ID, err, TG_FAILED_PRECONDITION,
              "%s is a database of another program: name another file", s->path);
    TG_ENSURE(
        version <= SCHEMA_VERSION, err, TG_FAILED_PRECONDITION,
        "%s is of version %lld, this program knows up to %d: run a newer key store, nothing was changed",
        s->path, (long long)version, SCHEMA_VERSION);
    TG_ENSURE(version >= 1, err, TG_DATA_LOSS, "%s says it is of version %lld, which never was", s->path,
              (long long)version);
    return TG_OK;
}

enum tg_code sqlite_schema_migrate(struct sqlite *s, struct tg_error *err)
{
    int64_t version = 0;
    char set[48];
    TG_TRY(sql_number(s, "PRAGMA user_version", &version, err));
    if (version == SCHEMA_VERSION)
        return TG_OK;
    for (; version < SCHEMA_VERSION; version++)
        TG_TRY(sql_exec(s, steps[version], err));
    snprintf(set, sizeof set, "PRAGMA user_version = %d", SCHEMA_VERSION);
    return sql_exec(s, set, err);
}
