/* Fills a key store's database with many ready keys, then dies in the middle of spending some, as kill -9
 * would: for tests/bench.sh start. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "services/key-store/store/store.h"

enum { FILL = 1000, SPENDS = 4000 };

static void must(enum tg_code code, const struct tg_error *err)
{
    if (code != TG_OK) {
        fprintf(stderr, "tg-keys: %s: %s\n", tg_code_name(code), err->text);
        exit(1);
    }
}

static void add_shield(struct store *s)
{
    struct tg_error err;
    const struct store_shield shield = {.id = "bench-start", .owner = "alice", .created_s = 1};
    must(s->ops->begin(s, &err), &err);
    must(s->ops->shield_add(s, &shield, &err), &err);
    must(s->ops->commit(s, &err), &err);
}

static void fill(struct store *s, struct store_new_key keys[FILL])
{
    struct tg_error err;
    struct store_fill fill = {.created_s = 1, .expires_s = 1ULL << 40, .shield_id = "bench-start"};
    random_bytes(fill.id, sizeof fill.id);
    random_bytes(fill.request_id, sizeof fill.request_id);
    for (int i = 0; i < FILL; i++) {
        ticket_new_key_id(keys[i].key_id);
        keys[i].key.kek = 1;
        random_bytes(&keys[i].key.wrapped, sizeof keys[i].key.wrapped);
        random_bytes(&keys[i].key.sealed, sizeof keys[i].key.sealed);
    }
    must(s->ops->begin(s, &err), &err);
    must(s->ops->fill_add(s, &fill, keys, FILL, &err), &err);
    must(s->ops->fill_find(s, fill.id, &fill, &err), &err);
    must(s->ops->fill_confirm(s, &fill, 1, &err), &err);
    must(s->ops->commit(s, &err), &err);
    s->ops->tidy(s, false);
}

static void spend(struct store *s, const uint8_t *key_id)
{
    struct tg_error err;
    struct store_key key;
    uint8_t answer[400] = {0};
    uint8_t request_id[REQUEST_ID_LEN] = {0};
    const struct store_spend spend = {
        .now_s = 1, .qkud_id = "", .request_id = request_id, .answer = answer, .answer_len = sizeof answer};
    must(s->ops->key_find(s, key_id, &key, &err), &err);
    must(s->ops->key_spend(s, &key, &spend, &err), &err);
}

int main(int argc, char **argv)
{
    struct store *s = NULL;
    struct tg_error err;
    static struct store_new_key keys[SPENDS / FILL][FILL];
    if (argc != 3) {
        fprintf(stderr, "usage: tg-keys DATABASE KEYS\n");
        return 64;
    }
    log_open("tg-keys", LOG_ERROR, STDERR_FILENO);
    must(store_sqlite_open(argv[1], &s, &err), &err);
    add_shield(s);
    long fills = strtol(argv[2], NULL, 10) / FILL;
    for (long i = 0; i < fills; i++)
        fill(s, keys[i % (SPENDS / FILL)]);
    for (int i = 0; i < SPENDS; i += 100) {
        must(s->ops->begin(s, &err), &err);
        for (int j = i; j < i + 100; j++)
            spend(s, keys[j / FILL][j % FILL].key_id);
        if (i + 100 < SPENDS)
            must(s->ops->commit(s, &err), &err);
    }
    raise(SIGKILL); /* one transaction is open, many are in the log alone */
    return 1;
}
