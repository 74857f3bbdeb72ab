/* What the key store's tests share below the service: a directory of their own, keys in it, rows for the
 * store. */
#ifndef TG_TESTS_KEY_STORE_SCRATCH_H
#define TG_TESTS_KEY_STORE_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/trace.h"
#include "services/key-store/kek/keyring.h"
#include "services/key-store/kek/seal_at_rest.h"
#include "services/key-store/store/store.h"

struct scratch {
    char dir[64];
    char database[96], kek[96], ticket_key[96];
};

/* Log lines would drown cmocka's. */
static inline void quiet(void)
{
    log_open("test", LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static inline void must(enum tg_code code, const struct tg_error *err)
{
    if (code != TG_OK)
        fail_msg("%s: %s", tg_code_name(code), err->text);
}

static inline void write_key(const char *path)
{
    uint8_t key[32];
    struct tg_error err;
    random_bytes(key, sizeof key);
    must(file_write_new(path, key, sizeof key, &err), &err);
}

/* A ring of one KEK, 1, in this file. */
static inline struct keyring *ring_of(char *file)
{
    struct kek_config kek = {.id = 1, .file = file};
    struct keyring *ring = NULL;
    struct tg_error err;
    must(keyring_open(&(struct config_list){&kek, 1}, &ring, &err), &err);
    return ring;
}

static inline void scratch_open(struct scratch *s)
{
    quiet();
    snprintf(s->dir, sizeof s->dir, "/tmp/tg-key-store-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->database, sizeof s->database, "%s/keys.db", s->dir);
    snprintf(s->kek, sizeof s->kek, "%s/kek.key", s->dir);
    snprintf(s->ticket_key, sizeof s->ticket_key, "%s/ticket.key", s->dir);
    write_key(s->kek);
    write_key(s->ticket_key);
}

static inline void scratch_close(const struct scratch *s)
{
    DIR *dir = opendir(s->dir);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(s->dir);
}

static inline struct store *open_store(const struct scratch *s)
{
    struct tg_error err;
    struct store *store = NULL;
    must(store_sqlite_open(s->database, &store, &err), &err);
    return store;
}

static inline void begin(struct store *s)
{
    struct tg_error err;
    must(s->ops->begin(s, &err), &err);
}

static inline void commit(struct store *s)
{
    struct tg_error err;
    must(s->ops->commit(s, &err), &err);
}

/* Whole content of a file, the caller's; *len 0 and NULL when there is none. */
static inline uint8_t *read_file(const char *path, size_t *len)
{
    *len = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    *len = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

/* Is `needle` anywhere in the database or its log? */
static inline bool on_disk(const struct scratch *s, const void *needle, size_t len)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    bool found = false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[128];
        size_t have = 0;
        snprintf(path, sizeof path, "%s%s", s->database, suffixes[i]);
        uint8_t *bytes = read_file(path, &have);
        found = found || (bytes != NULL && memmem(bytes, have, needle, len) != NULL);
        free(bytes);
    }
    return found;
}

/* ---- rows ---- */

static inline void random_at_rest(struct at_rest *key)
{
    *key = (struct at_rest){.kek = 1};
    random_bytes(key->wrapped, sizeof key->wrapped);
    random_bytes(key->sealed, sizeof key->sealed);
}

static inline void add_qkud(struct store *s, const char *id)
{
    struct tg_error err;
    struct store_qkud qkud = {.created_s = 1000};
    snprintf(qkud.id, sizeof qkud.id, "%s", id);
    random_at_rest(&qkud.key);
    must(s->ops->qkud_add(s, &qkud, &err), &err);
}

static inline void add_shield(struct store *s, const char *id)
{
    struct tg_error err;
    struct store_shield shield = {.created_s = 1000, .owner = "alice"};
    snprintf(shield.id, sizeof shield.id, "%s", id);
    must(s->ops->shield_add(s, &shield, &err), &err);
}

/* A fill of `count` random keys made at 1000 that expire at 2000. */
static inline void add_fill(struct store *s, const char *shield_id, struct store_fill *fill,
                            struct store_new_key *keys, size_t count)
{
    struct tg_error err;
    *fill = (struct store_fill){.created_s = 1000, .expires_s = 2000};
    snprintf(fill->shield_id, sizeof fill->shield_id, "%s", shield_id);
    random_bytes(fill->id, sizeof fill->id);
    random_bytes(fill->request_id, sizeof fill->request_id);
    for (size_t i = 0; i < count; i++) {
        ticket_new_key_id(keys[i].key_id);
        random_at_rest(&keys[i].key);
    }
    must(s->ops->fill_add(s, fill, keys, count, &err), &err);
}

static inline struct store_key find_key(struct store *s, const uint8_t key_id[TICKET_KEY_ID_LEN])
{
    struct tg_error err;
    struct store_key key;
    must(s->ops->key_find(s, key_id, &key, &err), &err);
    return key;
}

static inline void confirm_fill(struct store *s, const struct store_fill *fill)
{
    struct tg_error err;
    struct store_fill found;
    must(s->ops->fill_find(s, fill->id, &found, &err), &err);
    must(s->ops->fill_confirm(s, &found, 1001, &err), &err);
}

#endif
