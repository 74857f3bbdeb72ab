/* The key database as a struct of functions: the one seam between the key store's rules and where its rows
 * lie: SQLite for one key store, PostgreSQL for several, memory for tests. No rules here: spend.c, fill.c and
 * registry.c decide, the store remembers.
 *
 * A store belongs to one thread at a time (the writer's, once that runs). Codes, everywhere: UNAVAILABLE when
 * it cannot be read or written now (nothing was changed), DATA_LOSS when it is damaged, INTERNAL when a row
 * breaks its rules. A store that several share may also say ABORTED when the transaction is lost: apply it
 * again from the start. It may then find its own changes there, since what became of a commit is not always
 * known; every item must recognise those. */
#ifndef TG_KEY_STORE_STORE_H
#define TG_KEY_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/names.h"
#include "common/ticket.h"
#include "common/trace.h"
#include "services/key-store/kek/seal_at_rest.h"

enum store_limits {
    STORE_LIST_MAX = 500,
    STORE_ANSWER_MAX = 2048, /* sealed ticket info: its names are bounded */
    STORE_NOTE_MAX = 64,
    STORE_FILL_ID_LEN = 16
};

/* What becomes of a key: docs/key-centre.md. Numbers are stored. */
enum key_state { KEY_MADE = 0, KEY_READY = 1, KEY_SPENT = 2, KEY_REVOKED = 3, KEY_EXPIRED = 4, KEY_STATES };
/* "made" and so on. */
const char *key_state_name(enum key_state state);
/* KEY_STATES: no such state. */
enum key_state key_state_find(const char *name);

struct store_qkud {
    char id[NAME_ID_MAX + 1];
    char description[NAME_TEXT_MAX + 1];
    uint64_t created_s;
    bool revoked;
    struct at_rest key;
};

struct store_shield {
    char id[NAME_ID_MAX + 1];
    char owner[NAME_TEXT_MAX + 1];
    char policy[NAME_TEXT_MAX + 1];
    uint64_t created_s;
    bool revoked;
    uint32_t made, ready, spent; /* keys in these states */
};

struct store_key {
    int64_t row;
    uint8_t key_id[TICKET_KEY_ID_LEN];
    enum key_state state;
    uint64_t created_s, expires_s;
    struct at_rest key; /* KEY_MADE, KEY_READY */
    uint64_t spent_s;   /* KEY_SPENT, as the two below */
    char spent_by[NAME_ID_MAX + 1];
    uint8_t request_id[REQUEST_ID_LEN];
    struct store_shield shield; /* without its counts */
};

struct store_new_key {
    uint8_t key_id[TICKET_KEY_ID_LEN];
    struct at_rest key;
};

struct store_fill {
    int64_t row;
    uint8_t id[STORE_FILL_ID_LEN];
    uint8_t request_id[REQUEST_ID_LEN];
    char shield_id[NAME_ID_MAX + 1];
    uint64_t created_s, expires_s;
    uint64_t confirmed_s; /* 0: not yet */
    uint32_t ready;       /* how many keys the confirmation made ready */
    bool shield_revoked;
};

/* A key that two secure application entities (ETSI GS QKD 014) share: the master has it, the slave has not
 * yet taken it. */
struct store_sae_key {
    uint8_t key_id[TICKET_KEY_ID_LEN];
    char master[NAME_ID_MAX + 1];
    char slave[NAME_ID_MAX + 1];
    uint32_t bits; /* 64 to 256, a multiple of 8 */
    uint64_t created_s, expires_s;
    struct at_rest key;
};

/* One key at rest, whatever it is for: what rotation of KEKs needs to know. */
struct store_at_rest {
    enum at_rest_kind kind;
    uint8_t id[AT_REST_ID_MAX];
    size_t id_len;
    struct at_rest key;
};

struct store_spend {
    uint64_t now_s;
    const char *qkud_id;
    const uint8_t *request_id; /* REQUEST_ID_LEN */
    const uint8_t *answer;
    size_t answer_len; /* at most STORE_ANSWER_MAX */
};

struct store_key_filter {
    const char *shield_id;       /* "": all */
    enum key_state state;        /* KEY_STATES: all */
    const char *owner;           /* of the shield; NULL or "": all */
    uint64_t expires_before_s;   /* 0: all */
    const uint8_t *after_key_id; /* NULL: from the start; order is that of making */
};

struct store_upkeep {
    uint64_t now_s;
    uint64_t answers_before_s; /* answers made before this, or after now_s (the clock was set back), go */
    uint64_t fills_before_s;   /* fills made before this and never confirmed lapse */
};

struct store;
typedef void store_each_qkud(void *arg, const struct store_qkud *qkud);
typedef void store_each_shield(void *arg, const struct store_shield *shield);
typedef void store_each_key(void *arg, const struct store_key *key);
typedef void store_each_at_rest(void *arg, const struct store_at_rest *row);

struct store_ops {
    /* One transaction; commit is durable on return. When commit fails the transaction has been rolled back.
     * Within it, mark and unmark bracket one item: unmark(keep = false) undoes what was done since mark, and
     * fails when the whole transaction is lost. */
    enum tg_code (*begin)(struct store *s, struct tg_error *err);
    enum tg_code (*commit)(struct store *s, struct tg_error *err);
    void (*rollback)(struct store *s);
    enum tg_code (*mark)(struct store *s, struct tg_error *err);
    enum tg_code (*unmark)(struct store *s, bool keep, struct tg_error *err);
    /* Outside a transaction: housekeeping of the backend's own files. `idle`: nobody is waiting. */
    void (*tidy)(struct store *s, bool idle);
    void (*close)(struct store *s);

    /* All below: inside a transaction. NOT_FOUND and ALREADY_EXISTS carry no text. */

    /* Facts about the whole database. */
    enum tg_code (*note_find)(struct store *s, const char *name, uint8_t out[STORE_NOTE_MAX], size_t *len,
                              struct tg_error *err);
    enum tg_code (*note_set)(struct store *s, const char *name, const void *value, size_t len,
                             struct tg_error *err);

    /* ALREADY_EXISTS: the note is there and stays as it is. */
    enum tg_code (*note_add)(struct store *s, const char *name, const void *value, size_t len,
                             struct tg_error *err);

    enum tg_code (*qkud_add)(struct store *s, const struct store_qkud *qkud, struct tg_error *err);
    enum tg_code (*qkud_find)(struct store *s, const char *id, struct store_qkud *out, struct tg_error *err);
    /* Destroys its wrapped key. Again: OK. */
    enum tg_code (*qkud_revoke)(struct store *s, const char *id, uint64_t now_s, struct tg_error *err);
    /* In order of id; rows come without the key. */
    enum tg_code (*qkud_list)(struct store *s, const char *after, size_t limit, store_each_qkud *each,
                              void *arg, struct tg_error *err);

    enum tg_code (*shield_add)(struct store *s, const struct store_shield *shield, struct tg_error *err);
    enum tg_code (*shield_find)(struct store *s, const char *id, struct store_shield *out,
                                struct tg_error *err);
    /* Revokes its unspent keys too, and destroys them; *keys says how many. Again: OK. */
    enum tg_code (*shield_revoke)(struct store *s, const char *id, uint64_t now_s, uint32_t *keys,
                                  struct tg_error *err);
    enum tg_code (*shield_list)(struct store *s, const char *after, size_t limit, store_each_shield *each,
                                void *arg, struct tg_error *err);

    /* Adds the fill and its keys as KEY_MADE. ALREADY_EXISTS: this request id has filled before. */
    enum tg_code (*fill_add)(struct store *s, const struct store_fill *fill, const struct store_new_key *keys,
                             size_t count, struct tg_error *err);
    enum tg_code (*fill_find)(struct store *s, const uint8_t id[STORE_FILL_ID_LEN], struct store_fill *out,
                              struct tg_error *err);
    /* KEY_MADE → KEY_READY for its keys; fill->confirmed_s and fill->ready are filled in. */
    enum tg_code (*fill_confirm)(struct store *s, struct store_fill *fill, uint64_t now_s,
                                 struct tg_error *err);

    /* These keys are going to be asked for: may fetch them at once. May be NULL. */
    enum tg_code (*keys_expected)(struct store *s, const uint8_t *const *key_ids, size_t count,
                                  struct tg_error *err);
    enum tg_code (*key_find)(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN], struct store_key *out,
                             struct tg_error *err);
    /* KEY_READY → KEY_SPENT, its wrapped data key destroyed, the answer kept. ABORTED: it was not ready. */
    enum tg_code (*key_spend)(struct store *s, const struct store_key *key, const struct store_spend *spend,
                              struct tg_error *err);
    /* The answer kept when `key` was spent, if made at since_s or later. */
    enum tg_code (*key_answer)(struct store *s, const struct store_key *key, uint64_t since_s,
                               uint8_t out[STORE_ANSWER_MAX], size_t *len, struct tg_error *err);
    /* KEY_MADE or KEY_READY → KEY_REVOKED, destroyed; others stay as they are. */
    enum tg_code (*key_revoke)(struct store *s, const struct store_key *key, struct tg_error *err);
    /* NOT_FOUND: after_key_id is no key of this store. Rows come without key and owner. */
    enum tg_code (*key_list)(struct store *s, const struct store_key_filter *filter, size_t limit,
                             store_each_key *each, void *arg, struct tg_error *err);

    /* Again, with the same key ids: OK, and nothing is added. */
    enum tg_code (*sae_key_add)(struct store *s, const struct store_sae_key *keys, size_t count,
                                struct tg_error *err);
    /* Finds the key and destroys its row. NOT_FOUND: taken before, or another pair's. An expired one is found
     * until upkeep comes: the caller looks at expires_s. */
    enum tg_code (*sae_key_take)(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN], const char *master,
                                 const char *slave, struct store_sae_key *out, struct tg_error *err);
    /* How many the slave has not taken yet. */
    enum tg_code (*sae_key_count)(struct store *s, const char *master, const char *slave, uint64_t *count,
                                  struct tg_error *err);

    /* At most `limit` keys at rest of all kinds that lie under another KEK than `kek`, in no order. */
    enum tg_code (*rewrap_list)(struct store *s, uint32_t kek, size_t limit, store_each_at_rest *each,
                                void *arg, struct tg_error *err);
    /* Puts `after`'s KEK and wrapped data key in the place of `before`'s, which are destroyed. ABORTED: it
     * is not `before` any more (spent, revoked, taken or wrapped by someone else). */
    enum tg_code (*rewrap_set)(struct store *s, enum at_rest_kind kind, const void *id, size_t id_len,
                               const struct at_rest *before, const struct at_rest *after,
                               struct tg_error *err);
    /* How many keys at rest of all kinds lie under `kek`. */
    enum tg_code (*kek_rows)(struct store *s, uint32_t kek, uint64_t *rows, struct tg_error *err);

    /* Forgets what has had its time: answers, keys past their expiry, fills that were never confirmed. A
     * bounded piece of work; *more says whether some is left for the next call. */
    enum tg_code (*upkeep)(struct store *s, const struct store_upkeep *upkeep, bool *more,
                           struct tg_error *err);
};

struct store {
    const struct store_ops *ops;
};

/* Opens or makes the SQLite database at `path` (mode 0600; its directory must exist) and holds it against
 * every other process. Nothing is changed in a file that is refused: FAILED_PRECONDITION (not a key database,
 * of a newer version, or in use by another key store), DATA_LOSS (damaged), PERMISSION_DENIED, UNAVAILABLE.
 * Texts name the file. */
enum tg_code store_sqlite_open(const char *path, struct store **store, struct tg_error *err) TG_MUST_CHECK;

struct store_postgres_config {
    const char *conninfo;      /* libpq's connection string, without a password */
    const char *password_file; /* its first line is the password; mode 0400; NULL: none is needed */
    int wait_ms;               /* for any answer of the server, then the connection is given up */
};

/* Connects to the PostgreSQL server that takes writes and makes the schema there on the first start. Several
 * key stores may use one database. Blocks while it connects (as its first transaction after a connection was
 * lost does). INVALID_ARGUMENT (no connection string, or a password in it), FAILED_PRECONDITION (a newer
 * version), UNAVAILABLE. Texts name the database. */
enum tg_code store_postgres_open(const struct store_postgres_config *config, struct store **store,
                                 struct tg_error *err) TG_MUST_CHECK;

/* One that lives as long as it is open, for tests: SQLite's own database in memory. */
enum tg_code store_memory_open(struct store **store, struct tg_error *err) TG_MUST_CHECK;

#endif
